"""``photonlink watch``: listen to a broker, serve the page, until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from photonlink.pipeline.status.connection import BrokerAddress, require_tls_files, tls_reason
from photonlink.pipeline.status.system_log import SystemLog
from photonlink.pipeline.watch.access import Access, AccessError, is_loopback, split_listen
from photonlink.pipeline.watch.figures import HistoryError
from photonlink.pipeline.watch.history import History
from photonlink.pipeline.watch.listener import BrokerListener, stop
from photonlink.pipeline.watch.node_listener import NodeListener
from photonlink.pipeline.watch.server import serving
from photonlink.pipeline.watch.service import Watch

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line. source: a broker, or the address of one node's own page.
    ``history`` may be ``:memory:``."""

    source: BrokerAddress | str
    listen: str = "127.0.0.1:8080"
    history: str = "photonlink-history.sqlite"
    passwords: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    system_log: bool = False


def server_tls(options: Options) -> ssl.SSLContext | None:
    """TLS of the page; with ``client_ca`` only clients with a certificate of that authority are
    accepted.
    """
    if options.certificate is None:
        if options.client_ca is not None:
            raise AccessError(
                "client certificates are asked for in TLS only, and the page has no certificate",
                hint="--certificate and --key of the page, beside --client-ca",
            )
        return None
    files = (options.certificate, options.key, options.client_ca)
    require_tls_files("certificate of the page", *files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(str(options.certificate), str(options.key) if options.key else None)
        if options.client_ca is not None:
            context.load_verify_locations(str(options.client_ca))
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        named = ", ".join(str(f) for f in files if f)
        raise AccessError(f"certificate of the page ({named}): {tls_reason(error)}") from None
    return context


def open_history(path: str) -> History:
    """The history file; one that is damaged or of another version is named, left as it is, and
    received data are kept in memory, so that links are still watched.
    """
    try:
        return History(path)
    except HistoryError as error:
        log.error("%s; it is left as it is, history is kept in memory until watch ends", error)
        kept = History(":memory:")
        kept.damaged = f"{error.what}; it is left as it is. {error.hint or ''}".strip()
        return kept


async def run(options: Options, said: Callable[[str], None]) -> None:
    """Until SIGINT or SIGTERM. ``said`` is called with the page's address once it is open."""
    host, port = split_listen(options.listen)
    access = Access.read(options.passwords)
    if not is_loopback(host) and not access.users and options.client_ca is None:
        raise AccessError(
            f"watch listens on {host} only with a login",
            hint="--passwords FILE (made by `watch --add-user NAME FILE`) or --client-ca FILE",
        )
    tls = server_tls(options)
    if not is_loopback(host) and access.users and tls is None:
        raise AccessError(
            f"passwords would cross the network to {host} in clear",
            hint="--certificate and --key, or listen on 127.0.0.1 behind a proxy with TLS",
        )
    watch = Watch(open_history(options.history))
    listener: BrokerListener | NodeListener
    if isinstance(options.source, str):
        listener = NodeListener(options.source, watch.feed)
    else:
        listener = BrokerListener(options.source, watch.feed)
    watch.system_log = SystemLog() if options.system_log else None
    watch.trouble = lambda: listener.trouble
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(sign, ended.set)
    tasks = [asyncio.create_task(job) for job in (listener.run(), watch.push(), watch.keep())]
    try:
        async with serving(watch, access, host, port, tls) as bound:
            name = "localhost" if host == "::1" else host
            said(f"{'https' if tls else 'http'}://{name}:{bound}/")
            waiting = asyncio.create_task(ended.wait())
            await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
    finally:
        for task in tasks:
            await stop(task)
