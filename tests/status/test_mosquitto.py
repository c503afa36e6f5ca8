"""``photonlink broker-config`` with the real broker: write permissions, TLS, bridges."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest
from brokers import Mosquitto, find_mosquitto
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from status.certificates import Authority

from photonlink.pipeline.status.connection import BrokerAddress, SaidByClient
from photonlink.pipeline.status.mosquitto import (
    Bridge,
    BrokerConfigError,
    BrokerPlan,
    configuration,
    password_line,
    write,
)

OWN = "photonlink/v2/lab/l0-alice/status"
OTHERS = "photonlink/v2/lab/l0-bob/status"
DEADLINE_S = 20.0
Run = Callable[..., Mosquitto]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Write a plan and run the broker with it, but as root and with its data in tmp_path."""
    running: list[Mosquitto] = []

    def start(plan: BrokerPlan, folder: str = "b", bridge_password: str | None = None) -> Mosquitto:
        broker = find_mosquitto(tmp_path)
        plan = replace(plan, listen=("127.0.0.1", broker.port))
        write(plan, tmp_path / folder, bridge_password)
        text = (tmp_path / folder / "mosquitto.conf").read_text()
        data = tmp_path / folder / "data"
        data.mkdir(exist_ok=True)
        broker.configure("user root\n" + text.replace("/var/lib/mosquitto/", f"{data}/"))
        broker.start()
        running.append(broker)
        deadline = time.monotonic() + DEADLINE_S
        while not broker.answers():
            assert time.monotonic() < deadline, "the broker refuses its configuration"
            time.sleep(0.05)
        return broker

    yield start
    for broker in running:
        broker.kill()


def client(address: BrokerAddress) -> aiomqtt.Client:
    said = SaidByClient()
    return address.client(f"c-{time.monotonic_ns()}", said, keepalive_s=10, timeout_s=3.0)


def with_password(broker: Mosquitto, folder: Path, name: str) -> BrokerAddress:
    file = folder / "accounts" / f"{name}.password"
    return BrokerAddress("127.0.0.1", broker.port, username=name, password_file=file)


async def heard(viewer: aiomqtt.Client, wait_s: float = 0.4) -> dict[str, bytes]:
    found = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            async for message in viewer.messages:
                found[str(message.topic)] = bytes(message.payload)  # type: ignore[arg-type]
    return found


async def refused(writer: aiomqtt.Client, topic: str) -> bool:
    """Whether the broker refuses a publication with QoS 1."""
    try:
        await writer.publish(topic, b"x", qos=1, retain=True)
    except aiomqtt.MqttError:
        return True
    return False


PLAN = BrokerPlan(("127.0.0.1", 1), (("lab", "l0-alice"), ("lab", "l0-bob")), ("watch",))


async def test_a_node_writes_its_own_topics_only_and_watchers_only_read(
    run: Run, tmp_path: Path
) -> None:
    broker, folder = run(PLAN), tmp_path / "b"
    alice, watcher = (
        client(with_password(broker, folder, name)) for name in ("lab.l0-alice", "watch")
    )
    async with watcher as viewer, alice as node:
        await viewer.subscribe("photonlink/v2/#", qos=1)
        await node.publish(OWN, b"own", qos=1, retain=True)
        await node.publish("homeassistant/device/photonlink-lab-l0-alice/config", b"d", qos=1)
        # the broker answers QoS 1 of MQTT 5 with "not authorized"; the test checks who receives it
        for topic in (OTHERS, "photonlink/v2/other/l0-alice/status", "photonlink/v2/x",
                      "homeassistant/device/else/config"):  # fmt: skip
            await refused(node, topic)
        await refused(viewer, OWN)
        assert await heard(viewer) == {OWN: b"own"}
    bob = client(with_password(broker, folder, "lab.l0-bob"))
    async with bob as node:  # a node cannot read another's topics
        await node.subscribe("photonlink/v2/#", qos=1)
        assert await heard(node) == {}


@pytest.mark.parametrize("user", [None, "lab.l0-alice", "stranger"])
async def test_who_has_no_account_or_another_password_is_refused(
    run: Run, tmp_path: Path, user: str | None
) -> None:
    broker = run(PLAN)
    secret = tmp_path / "wrong"
    secret.write_text("wrong")
    secret.chmod(0o600)
    address = BrokerAddress("127.0.0.1", broker.port, username=user, password_file=secret)
    with pytest.raises(aiomqtt.MqttError, match=r"Not authorized|Bad user"):
        async with client(address):
            pass


async def test_certificates_instead_of_passwords(run: Run, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.broker()
    plan = replace(
        PLAN, ca=authority.file, certificate=server.certificate, key=server.key,
        client_certificates=True,
    )  # fmt: skip
    broker = run(plan)

    def address(name: str) -> BrokerAddress:
        pair = authority.client(name)
        return BrokerAddress.parse(
            f"mqtts://127.0.0.1:{broker.port}", ca=authority.file,
            certificate=pair.certificate, key=pair.key,
        )  # fmt: skip

    async with client(address("watch")) as viewer, client(address("lab.l0-alice")) as node:
        await viewer.subscribe("photonlink/v2/#", qos=1)
        await node.publish(OWN, b"own", qos=1)
        await refused(node, OTHERS)
        assert await heard(viewer) == {OWN: b"own"}


async def test_a_site_bridges_to_a_central_broker_which_trusts_it_for_its_own_site_only(
    run: Run, tmp_path: Path
) -> None:
    central_plan = BrokerPlan(("127.0.0.1", 1), watchers=("watch",), sites=("lab",))
    central = run(central_plan, "central")
    password = (tmp_path / "central/accounts/bridge.lab.password").read_text().strip()
    bridge = Bridge("127.0.0.1", central.port, "lab", None)
    site = run(replace(PLAN, bridge=bridge), "site", password)
    expires = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    expires.MessageExpiryInterval = 30
    viewer_at = client(with_password(central, tmp_path / "central", "watch"))
    node_at = client(with_password(site, tmp_path / "site", "lab.l0-alice"))
    async with viewer_at as viewer, node_at as node:
        await viewer.subscribe("photonlink/v2/#", qos=1)
        async with asyncio.timeout(DEADLINE_S):
            while True:
                await node.publish(OWN, b"here", qos=1, retain=True, properties=expires)
                if (await heard(viewer)).get(OWN) == b"here":
                    break
        await node.publish(OWN, b"", qos=1, retain=True)
        assert (await heard(viewer, 1.0)).get(OWN) == b"", "an alarm that ends, ends there too"
    thief = with_password(central, tmp_path / "central", "bridge.lab")
    async with (
        client(with_password(central, tmp_path / "central", "watch")) as viewer,
        client(thief) as other,
    ):
        await viewer.subscribe("photonlink/v2/#", qos=1)
        await refused(other, "photonlink/v2/elsewhere/n/status")
        assert await heard(viewer) == {}


def test_written_again_accounts_keep_their_passwords(tmp_path: Path) -> None:
    write(PLAN, tmp_path)
    before = (tmp_path / "accounts/watch.password").read_text()
    write(replace(PLAN, watchers=("watch", "second")), tmp_path)
    assert (tmp_path / "accounts/watch.password").read_text() == before
    assert len((tmp_path / "passwords").read_text().splitlines()) == 4
    for name in ("mosquitto.conf", "acl", "passwords", "accounts/watch.password"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_version_2_1_has_plugins_instead_of_options(tmp_path: Path) -> None:
    text = configuration(replace(PLAN, version="2.1", plugins=Path("/p")), tmp_path)
    assert "global_plugin /p/mosquitto_acl_file.so\nplugin_opt_acl_file" in text
    assert "global_plugin /p/mosquitto_password_file.so\nplugin_opt_password_file" in text
    assert "\nacl_file" not in text
    assert "listener_allow_anonymous false" in text


@pytest.mark.parametrize(
    ("change", "says"),
    [({"listen": ("0.0.0.0", 1883)}, "without TLS"), ({"nodes": (("lab", "+"),)}, "no name"),  # noqa: S104
     ({"watchers": ("a/#",)}, "no name"), ({"version": "1.4"}, "known are"),
     ({"certificate": Path("x")}, "belong together"), ({"client_certificates": True}, "need --ca"),
     ({"nodes": (), "watchers": ()}, "nobody"), ({"watchers": ("a", "a")}, "one name"),
     ({"bridge": Bridge("h", 1, "lab", None)}, "certificate or a password")],
)  # fmt: skip
def test_what_would_be_unsafe_is_refused(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    with pytest.raises(BrokerConfigError, match=says):
        write(replace(PLAN, **change), tmp_path)  # type: ignore[arg-type]


def test_the_hash_is_that_of_mosquittos_own_tool() -> None:
    """Salt and hash have the lengths of lines of ``mosquitto_passwd`` 2.0.11; tests above show that
    the broker accepts the password."""
    name, _, rest = password_line("n", "secret").partition(":")
    kind, rounds, salt, digest = rest[1:].split("$")
    assert (name, kind, rounds, len(salt), len(digest)) == ("n", "7", "101", 16, 88)


def test_the_command_writes_what_it_says(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "photonlink.pipeline.cli", "broker-config", str(tmp_path / "b"),
         "--node", "lab/l0-alice", "--watcher", "watch"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert str(tmp_path / "b" / "accounts" / "watch.password") in done.stdout
    assert "chown" in done.stdout
