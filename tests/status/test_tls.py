"""Node and watchers with a real broker over TLS; faults are named, and key making goes on."""

from __future__ import annotations

import asyncio
import contextlib
import socketserver
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from brokers import Mosquitto, find_mosquitto
from status.certificates import Authority, Pair

from photonlink.hal.errors import PhotonlinkError, StationError
from photonlink.pipeline.node.station import MqttSection
from photonlink.pipeline.status.connection import BrokerAddress, BrokerAddressError, plain
from photonlink.pipeline.status.model import LinkState, Phase
from photonlink.pipeline.status.mqtt import MqttAddress, MqttPublisher
from photonlink.pipeline.watch.listener import BrokerListener

# paho leaves the socket of a failed handshake to the garbage collector
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <(ssl|socket):pytest.PytestUnraisableExceptionWarning"
)
DEADLINE_S = 20.0
TlsBroker = Callable[..., Mosquitto]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shorter timeout: the client waits for the broker's alert, and five seconds are too long."""
    monkeypatch.setattr("photonlink.pipeline.status.mqtt.TIMEOUT_S", 2.0)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls_broker(tmp_path: Path, authority: Authority) -> Iterator[TlsBroker]:
    running: list[Mosquitto] = []

    def start(pair: Pair, *, clients: bool = False) -> Mosquitto:
        broker = find_mosquitto(tmp_path)
        lines = [
            f"listener {broker.port} 127.0.0.1", "user root", "persistence false",
            f"cafile {authority.file}", f"certfile {pair.certificate}", f"keyfile {pair.key}",
        ]  # fmt: skip
        if clients:
            lines += ["require_certificate true", "use_identity_as_username true"]
        broker.configure("\n".join([*lines, f"allow_anonymous {str(not clients).lower()}"]))
        broker.start()
        running.append(broker)
        return broker

    yield start
    for broker in running:
        broker.kill()


@contextlib.asynccontextmanager
async def publishing(address: BrokerAddress) -> AsyncIterator[MqttPublisher]:
    publisher = MqttPublisher(MqttAddress(address, "lab", "alice", "l0"))
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=DEADLINE_S)
        assert task.done(), task.get_stack()


async def until(condition: Callable[[], object], why: Callable[[], object] = lambda: "") -> None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - the code under test has no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"never: {why()}")


async def trouble(address: BrokerAddress) -> str:
    """The reason why a node does not reach this broker."""
    refused = "nothing listens"  # while the broker starts
    async with publishing(address) as publisher:
        await until(lambda: publisher.trouble and refused not in publisher.trouble)
        assert not publisher.connected
        return publisher.trouble


@pytest.mark.row("MQTT: no TLS to the broker, no client certificate")
async def test_a_node_and_a_watcher_meet_over_tls_with_certificates(
    tls_broker: TlsBroker, authority: Authority
) -> None:
    broker = tls_broker(authority.broker(), clients=True)
    node, viewer = authority.client("l0-alice"), authority.client("watch")

    def address(pair: Pair) -> BrokerAddress:
        return BrokerAddress.parse(
            f"mqtts://127.0.0.1:{broker.port}", ca=authority.file,
            certificate=pair.certificate, key=pair.key,
        )  # fmt: skip

    heard: list[str] = []
    listener = BrokerListener(address(viewer), lambda topic, _: heard.append(topic))
    listening = asyncio.create_task(listener.run())
    try:
        async with publishing(address(node)) as publisher:
            publisher.offer(LinkState(Phase.SIFTING))
            state = "photonlink/v2/lab/l0-alice/link/l0/state"
            await until(lambda: state in heard, lambda: (publisher.trouble, listener.trouble))
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_what_is_wrong_with_a_certificate_is_named(
    tls_broker: TlsBroker, authority: Authority, tmp_path: Path
) -> None:
    expired = tls_broker(authority.broker("expired", days=(-20, -10)))
    elsewhere = tls_broker(authority.broker("elsewhere", hosts=("192.0.2.1",)))
    good = tls_broker(authority.broker("good"), clients=True)
    stranger = Authority(tmp_path, "stranger")
    other = stranger.client("intruder")
    old = authority.client("old", days=(-20, -10))

    def to(broker: Mosquitto, ca: Path, pair: Pair | None = None) -> BrokerAddress:
        files = {} if pair is None else {"certificate": pair.certificate, "key": pair.key}
        return BrokerAddress.parse(f"mqtts://127.0.0.1:{broker.port}", ca=ca, **files)

    assert await trouble(to(expired, authority.file)) == "the broker's certificate has expired"
    assert "of another host" in await trouble(to(elsewhere, authority.file))
    assert "not of the CA that we trust" in await trouble(to(good, stranger.file))
    assert "wants a certificate of us" in await trouble(to(good, authority.file))
    assert "does not know the CA" in await trouble(to(good, authority.file, other))
    assert "our certificate has expired" in await trouble(to(good, authority.file, old))


async def test_plain_and_tls_do_not_mix(tls_broker: TlsBroker, authority: Authority,
                                        mosquitto: Mosquitto) -> None:  # fmt: skip
    plain_port = BrokerAddress.parse(f"mqtts://127.0.0.1:{mosquitto.port}", ca=authority.file)
    assert await trouble(plain_port)
    broker = tls_broker(authority.broker())
    assert await trouble(BrokerAddress.parse(f"mqtt://127.0.0.1:{broker.port}"))


async def test_a_broker_that_is_away_long_is_named_once_and_found_again(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    async with publishing(BrokerAddress("127.0.0.1", mosquitto.port)) as publisher:
        await until(lambda: publisher.connected)
        caplog.clear()
        mosquitto.kill()
        await until(lambda: "nothing listens" in publisher.trouble, lambda: publisher.trouble)
        await asyncio.sleep(1.5)  # several tries
        mosquitto.start()
        await until(lambda: publisher.connected)
    said = [r.getMessage() for r in caplog.records if "MQTT broker" in r.getMessage()]
    assert sum("nothing listens" in line for line in said) == 1, said
    assert "is back after" in said[-1]


class _Old(socketserver.BaseRequestHandler):
    """Answers CONNECT like an MQTT 3.1.1 broker that gets a request for version 5."""

    def handle(self) -> None:
        self.request.recv(1024)
        self.request.sendall(b"\x20\x02\x00\x01")  # CONNACK: unacceptable protocol version


async def test_a_broker_of_mqtt_3_1_1_is_named() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Old) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            port = server.server_address[1]
            assert "MQTT 3.1.1 only" in await trouble(BrokerAddress("127.0.0.1", port))
        finally:
            server.shutdown()
            thread.join()


async def test_a_user_that_is_refused_is_named(tmp_path: Path) -> None:
    broker = find_mosquitto(tmp_path)
    broker.configure(f"listener {broker.port} 127.0.0.1\nallow_anonymous false\npersistence false")
    broker.start()
    try:
        assert "refuses user None" in await trouble(BrokerAddress("127.0.0.1", broker.port))
    finally:
        broker.kill()


def test_files_are_checked_before_anything_runs(authority: Authority, tmp_path: Path) -> None:
    pair = authority.client("n")
    url = "mqtts://127.0.0.1"

    def refused(match: str, **files: Path) -> None:
        with pytest.raises(PhotonlinkError, match=match):
            BrokerAddress.parse(url, **files)

    refused("no such file", ca=tmp_path / "none.crt")
    refused("no such file", certificate=pair.certificate, key=tmp_path / "none.key")
    pair.key.chmod(0o644)
    refused("others can read the key", certificate=pair.certificate, key=pair.key)
    pair.key.chmod(0o600)
    pair.certificate.write_text("no certificate")
    refused("no PEM files", certificate=pair.certificate, key=pair.key)
    secret = tmp_path / "password"
    secret.write_text("geheim")
    secret.chmod(0o644)
    refused("others can read the broker's password", password_file=secret)
    with pytest.raises(BrokerAddressError, match="not encrypted"):
        BrokerAddress.parse("mqtt://127.0.0.1", ca=authority.file)


@pytest.mark.parametrize("table", [{"ca": "x"}, {"tls": True, "key": "x"}])
def test_a_station_that_contradicts_itself_is_refused(table: dict[str, object]) -> None:
    with pytest.raises((StationError, ValueError), match=r"\[mqtt\]"):
        MqttSection.model_validate({"host": "h", **table})


def test_the_port_follows_tls() -> None:
    assert MqttSection(host="h").address().port == 1883
    assert MqttSection(host="h", tls=True).address().port == 8883


@pytest.mark.parametrize(
    ("error", "says"),
    [(OSError("[Errno -2] Name or service not known"), "host name is not known"),
     (TimeoutError("timed out"), "does not answer"), (OSError("odd"), "odd"),
     (OSError(), "OSError")],
)  # fmt: skip
def test_errors_in_plain_words(error: Exception, says: str) -> None:
    assert says in plain(error)
