"""One ``photonlink watch`` under the load of a national network: 150 links, 1,000 instruments.

python benchmarks/watch_load.py [--seconds 60] [--links 150] [--viewers 50]

Publishers replay what the nodes of a demo published (recorded_nodes.jsonl): both ends of each link
twice a second, every instrument each ten seconds, through Mosquitto where it is installed. 50
viewers read the event stream; Chromium shows the page. Prints one JSON object with goals and
measured figures; exit status 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import paho.mqtt.client as paho

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.watch_history import year_of_history

RECORDED = Path(__file__).parent / "recorded_nodes.jsonl"
STATE_S, INSTRUMENT_S = 0.5, 10.0
WARM_UP_S = 5.0
MARKED = "link-000"
CHROMIUM = ["--no-sandbox", "--disable-gpu"]
GOALS = {
    "core": 0.30, "memory_mib": 300.0, "latency_p95_ms": 250.0, "script_frame_p95_ms": 15.0,
    "viewer_messages_per_second": 200.0, "year_of_10_links_s": 1.0,
}  # fmt: skip
PROBE = """
window.seen = []; window.frames_ms = []; let spent = 0;
const ask = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (f) => ask((t) => {
  const begin = performance.now(); f(t);
  window.frames_ms.push(spent + performance.now() - begin); spent = 0;
});
const listen = EventSource.prototype.addEventListener;
EventSource.prototype.addEventListener = function (kind, f, ...rest) {
  return listen.call(this, kind, (e) => {
    const begin = performance.now(); f(e); spent += performance.now() - begin;
  }, ...rest);
};
let last = "";
new MutationObserver(() => {
  const shown = document.querySelector('a.tile[href="#/link/%s"] dd')?.textContent ?? "";
  if (shown !== last) { last = shown; window.seen.push([shown, Date.now() / 1000]); }
}).observe(document, { subtree: true, childList: true, characterData: true });
""".replace("%s", MARKED)


class Country(threading.Thread):
    """All nodes, through one connection. ``marks``: expected text of the page → time published."""

    def __init__(self, port: int, links: int, instruments: int) -> None:
        super().__init__(daemon=True)
        recorded = [json.loads(line) for line in RECORDED.read_text().splitlines()]
        self._states = {
            role: [m["payload"] for m in recorded if m["topic"].endswith("/state")
                   and m["payload"]["role"] == role and m["payload"]["skr_bps"]]
            for role in ("alice", "bob")
        }  # fmt: skip
        self._instruments = [m["payload"] for m in recorded if "/instrument/" in m["topic"]]
        self._links, self._count = links, instruments
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.marks: dict[str, float] = {}
        self.sent, self.late_s = 0, 0.0
        self._end = threading.Event()

    def _say(self, link: str, role: str, rest: str, body: dict[str, Any]) -> None:
        node = f"{link}-{role}"
        names = {"site": f"site-{int(link[-3:]) % 60:02}", "node": node, "link": link, "role": role}
        self.sent += 1
        payload = json.dumps(body | names | {"ts": round(time.time(), 3), "seq": self.sent})
        topic = f"photonlink/v2/{names['site']}/{node}/{rest}"
        self._client.publish(topic, payload, qos=0, retain=rest != "block")

    def run(self) -> None:
        work = list(self._jobs())
        begin, turn = time.monotonic(), 0
        while not self._end.is_set():
            for due_s, job in work:
                wait = begin + turn * STATE_S + due_s - time.monotonic()
                if wait > 0.001:
                    time.sleep(wait)
                self.late_s = max(self.late_s, -wait)
                job(turn)
            turn += 1

    def _jobs(self) -> Iterator[tuple[float, Any]]:
        """(time within half a second, publication), spread evenly."""
        names = [f"link-{i:03}" for i in range(self._links)]
        for link in names:
            for role in ("alice", "bob"):
                head = {"v": 2, "ts": 0}
                self._say(link, role, "meta", head | {"emulated": True})
                self._say(link, role, "status", head | {"status": "online"})
        turns = int(INSTRUMENT_S / STATE_S)
        for i, link in enumerate(names):
            for j, role in enumerate(("alice", "bob")):
                due = STATE_S * (2 * i + j) / (2 * self._links)
                yield due, lambda turn, a=link, r=role: self._state(turn, a, r)
        for n in range(self._count):
            link, role = names[n % self._links], ("alice", "bob")[n // self._links % 2]
            body = self._instruments[n % len(self._instruments)]
            due = STATE_S * (n // turns) / max(1, self._count // turns)
            yield (
                due,
                lambda turn, n=n, a=link, r=role, b=body: (
                    self._say(a, r, f"instrument/i-{n}", b) if turn % turns == n % turns else None
                ),
            )

    def _state(self, turn: int, link: str, role: str) -> None:
        body = self._states[role][turn % len(self._states[role])]
        if link == MARKED and role == "alice":
            value = 1000.0 + 10 * (turn % 900)
            body = body | {"skr_bps": value}
            self.marks[f"{value / 1000:.3g}".rstrip("0").rstrip(".") + " kbit/s"] = time.time()
        self._say(link, role, f"link/{link}/state", body)

    def stop(self) -> None:
        self._end.set()
        self.join(10)
        self._client.disconnect()
        self._client.loop_stop()


def viewers(url: str, count: int, seconds: float, result: Any) -> None:
    """Open ``count`` event streams; puts the most messages that one received in a second."""

    async def one(session: aiohttp.ClientSession, link: str) -> float:
        times: list[float] = []
        async with session.get(f"{url}/events?link={link}") as answer:
            end = time.monotonic() + seconds
            async for line in answer.content:
                if line.startswith(b"event:"):
                    times.append(time.monotonic())
                if time.monotonic() > end:
                    break
        per_second = [
            sum(t <= x < t + 1 for x in times) for t in times[:: max(1, len(times) // 50)]
        ]
        return max(per_second, default=0)

    async def every() -> list[float]:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=30)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector,
                                         read_bufsize=1 << 22) as session:  # fmt: skip
            jobs = (one(session, f"link-{i % 10:03}" if i % 2 else "") for i in range(count))
            return await asyncio.gather(*jobs)

    result.put(max(asyncio.run(every())))


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    from photonlink.pipeline.status.broker import EmbeddedBroker, free_port

    found = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    if not found:
        with EmbeddedBroker() as broker:
            yield broker.port
        return
    port = free_port()
    file = folder / "mosquitto.conf"
    file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 50000\n")
    process = subprocess.Popen([found, "-c", str(file)], stderr=subprocess.DEVNULL)
    time.sleep(1.0)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def cpu_s(pid: int) -> float:
    """CPU time of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    """Peak resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def on_the_page(url: str, country: Country, seconds: float) -> dict[str, Any]:
    """Latency from publication to the page, and scripting per frame, in Chromium."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(PROBE)
        page.goto(url)
        page.wait_for_timeout(WARM_UP_S * 1000)
        page.evaluate("() => { window.seen.length = 0; window.frames_ms.length = 0; }")
        page.wait_for_timeout(seconds * 1000)
        seen = page.evaluate("() => window.seen")
        frames = page.evaluate("() => window.frames_ms")
        tiles = page.locator("a.tile").count()
        browser.close()
    late = [1000 * (t - country.marks[text]) for text, t in seen if text in country.marks]
    return {
        "tiles": tiles, "updates_seen": len(late), "latency_p50_ms": statistics.median(late),
        "latency_p95_ms": _p95(late), "frames": len(frames), "script_frame_p95_ms": _p95(frames),
        "script_frame_most_ms": max(frames),
    }  # fmt: skip


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]


def measure(seconds: float, links: int, instruments: int, count: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "links": links, "instruments": instruments, "viewers": count, "seconds": seconds,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="photonlink-load-") as name:
        folder = Path(name)
        history = folder / "history.sqlite"
        year_of_history(history, 10)
        with mosquitto(folder) as port:
            command = [
                sys.executable, "-m", "photonlink.pipeline.cli", "watch", "--broker",
                f"mqtt://127.0.0.1:{port}", "--listen", "127.0.0.1:0", "--history", str(history),
            ]  # fmt: skip
            watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert watch.stdout is not None
            url = watch.stdout.readline().strip().rpartition(" ")[2].rstrip("/")
            country = Country(port, links, instruments)
            country.start()
            context = multiprocessing.get_context("spawn")
            queue = context.Queue()
            crowd = context.Process(target=viewers, args=(url, count, seconds + 10, queue))
            crowd.start()
            try:
                time.sleep(WARM_UP_S)
                before, begin, sent = cpu_s(watch.pid), time.monotonic(), country.sent
                result |= on_the_page(url, country, seconds)
                spent = time.monotonic() - begin
                result["core"] = (cpu_s(watch.pid) - before) / spent
                result["messages_per_second"] = (country.sent - sent) / spent
                result["publisher_late_most_s"] = country.late_s
                result["viewer_messages_per_second"] = queue.get(timeout=60)
                result["year_of_10_links_s"] = asyncio.run(_open_years(url))
                result["memory_mib"] = memory_mib(watch.pid)
            finally:
                country.stop()
                crowd.join(30)
                watch.terminate()
                watch.wait(30)
                watch.stdout.close()
    return result


async def _open_years(url: str) -> float:
    """Request a year of ten links, as the page does; seconds."""
    figures = "skr_bps,qber_hv,qber_da,coincidences_hz,accidentals_hz,key_stored_bits"
    now = time.time()
    async with aiohttp.ClientSession() as session:
        begin = time.monotonic()
        for i in range(10):
            query = {"node": f"old/link-{i}-alice", "figures": figures,
                     "since": str(now - 366 * 86_400), "until": str(now)}  # fmt: skip
            async with session.get(f"{url}/api/history", params=query) as answer:
                points = len((await answer.json())["t"])
                assert points > 100, points
        return time.monotonic() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--links", type=int, default=150)
    parser.add_argument("--instruments", type=int, default=1000)
    parser.add_argument("--viewers", type=int, default=50)
    asked = parser.parse_args()
    result = measure(asked.seconds, asked.links, asked.instruments, asked.viewers)
    missed = [name for name, goal in GOALS.items() if not result[name] <= goal]
    rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in result.items()}
    print(json.dumps(rounded | {"goals": GOALS, "missed": missed}, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
