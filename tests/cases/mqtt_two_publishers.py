"""Topics and client ids on one broker: two nodes of a site, and two links of a site.

Needs mosquitto. Run with the project's Python; prints one line per check,
exit status 1 if any is wrong.
"""

import asyncio
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import aiomqtt

from photonlink.pipeline.status.broker import free_port
from photonlink.pipeline.status.connection import BrokerAddress
from photonlink.pipeline.status.model import Alarm, LinkState, Phase, Severity
from photonlink.pipeline.status.mqtt import MqttAddress, MqttPublisher

PORT = free_port()
WRONG = []


def check(name, right, seen):
    print("right" if right else "WRONG", name, "-", seen)
    if not right:
        WRONG.append(name)


async def messages(topic, seconds):
    out = []
    async with aiomqtt.Client("127.0.0.1", PORT, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(topic, qos=1)
        try:
            async with asyncio.timeout(seconds):
                async for m in client.messages:
                    out.append((str(m.topic), bytes(m.payload)))  # noqa: PERF401
        except TimeoutError:
            pass
    return out


async def held(topic, right):
    """What is held on the broker, once it is right; on a slow machine that takes a while."""
    found = []
    for _ in range(15):
        try:
            found = [m for m in await messages(topic, 1) if m[1]]
        except aiomqtt.MqttError:  # the broker is still starting
            await asyncio.sleep(0.5)
        if right(found):
            break
    return found


async def main():
    def node(site, role, link):
        p = MqttPublisher(MqttAddress(BrokerAddress("127.0.0.1", PORT), site, role, link))
        return p, asyncio.create_task(p.run())

    a, ta = node("lab-1", "alice", "link0")
    b, tb = node("lab-1", "bob", "link0")
    for p in (a, b):
        p.offer(Alarm("tagger_lost", Severity.MAJOR, "the cable is out"))
    await held("photonlink/v2/lab-1/+/alarm/#", lambda found: len(found) == 2)
    a.offer(Alarm("tagger_lost", Severity.MAJOR, "", active=False))
    alarms = await held("photonlink/v2/lab-1/+/alarm/#", lambda found: len(found) == 1)
    check("Alice clears her alarm, Bob's of the same name stays", len(alarms) == 1, alarms)

    a.offer(LinkState(Phase.SIFTING, rate_hz={"H": 1.0}))
    b.offer(LinkState(Phase.SIFTING, rate_hz={"H": 2.0}))
    rates = await held("photonlink/v2/lab-1/+/link/+/state", lambda found: len(found) == 2)
    check(
        "both ends' rates can be seen at once and told apart",
        len(rates) == 2 and all(b"rate_h_hz" in m[1] for m in rates),
        [t for t, _ in rates],
    )

    x, tx = node("lab-2", "alice", "link0")
    y, ty = node("lab-2", "alice", "link1")

    async def feed():
        while True:
            for p in (x, y):
                p.offer(LinkState(Phase.SIFTING))
            await asyncio.sleep(0.3)

    tf = asyncio.create_task(feed())
    await held(
        "photonlink/v2/lab-2/+/status",
        lambda found: len(found) == 2 and not any(b"offline" in m[1] for m in found),
    )
    seen = [m[1] for m in await messages("photonlink/v2/lab-2/+/status", 5)]
    check(
        "two links of one site stay connected",
        seen and not any(b"offline" in s for s in seen),
        f"{len(seen)} status messages in 5 s",
    )
    for t in (ta, tb, tx, ty, tf):
        t.cancel()
    await asyncio.gather(ta, tb, tx, ty, tf, return_exceptions=True)


with tempfile.TemporaryDirectory() as folder:
    conf = pathlib.Path(folder, "m.conf")
    conf.write_text(f"listener {PORT} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    broker = subprocess.Popen(
        [shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin"), "-c", str(conf)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        asyncio.run(asyncio.wait_for(main(), 60))
    finally:
        broker.terminate()
        broker.wait()
sys.exit(bool(WRONG))
