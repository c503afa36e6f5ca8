"""The commands that look at many links: ``watch`` (a web page) and ``history`` (what was)."""

from pathlib import Path
from typing import Annotated

import typer

from photonlink.hal.errors import PhotonlinkError

History = Annotated[
    str, typer.Option("--history", help="History file (SQLite); ':memory:' keeps none.")
]
DEFAULT_HISTORY = "photonlink-history.sqlite"


def watch(
    broker: Annotated[
        str, typer.Option(help="mqtt://[USER@]HOST[:PORT], or mqtts:// with TLS.")
    ] = "mqtt://127.0.0.1:1883",
    node: Annotated[
        str | None, typer.Option(help="Instead: http://HOST:PORT of one node ([status] listen).")
    ] = None,
    listen: Annotated[str, typer.Option(help="Where the page is served.")] = "127.0.0.1:8080",
    history: History = DEFAULT_HISTORY,
    password_file: Annotated[
        Path | None, typer.Option(help="The broker user's password, one line.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="CA of the broker's certificate.")] = None,
    client_certificate: Annotated[
        Path | None, typer.Option(help="Our certificate for the broker.")
    ] = None,
    client_key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    passwords: Annotated[
        Path | None, typer.Option(help="Who may look, when it listens beyond this machine.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="Certificate of the page.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    client_ca: Annotated[
        Path | None, typer.Option(help="Only clients with a certificate of this CA may look.")
    ] = None,
    system_log: Annotated[
        bool, typer.Option("--system-log", help="Alarms also to the journal or syslog.")
    ] = False,
    add_user: Annotated[
        str | None, typer.Option(help="Add this name to --passwords (asks for the password).")
    ] = None,
) -> None:
    """Watch any number of links on a web page: state, figures, alarms, history."""
    import asyncio

    from photonlink.pipeline.status.connection import BrokerAddress
    from photonlink.pipeline.watch.access import hash_password
    from photonlink.pipeline.watch.run import Options, run

    if add_user is not None:
        if passwords is None:
            raise PhotonlinkError("--add-user needs --passwords FILE")
        secret = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        fresh = not passwords.exists()
        with passwords.open("a", encoding="utf-8") as file:
            if fresh:
                passwords.chmod(0o600)
            file.write(f"{add_user}:{hash_password(secret)}\n")
        return
    address = BrokerAddress.parse(
        broker, password_file=password_file, ca=ca, certificate=client_certificate, key=client_key
    )
    options = Options(node or address, listen, history, passwords, certificate, key, client_ca,
                      system_log)  # fmt: skip
    try:
        asyncio.run(
            run(options, lambda url: print(f"watching {node or broker}: open {url}", flush=True))
        )
    except OSError as error:
        raise PhotonlinkError(
            f"cannot listen on {listen}: {error.strerror or error}",
            hint="Is another watch running there? Choose another with --listen",
        ) from error


def history(
    node: Annotated[str, typer.Argument(help="SITE/NODE; without one, the nodes are listed.")] = "",
    since: Annotated[str, typer.Option(help="How far back: 90m, 24h, 30d.")] = "24h",
    figures: Annotated[str, typer.Option(help="Figures, separated by commas.")] = (
        "skr_bps,qber_hv,qber_da"
    ),
    file: History = DEFAULT_HISTORY,
) -> None:
    """Print what ``watch`` has kept of a node, as CSV."""
    import csv
    import sys
    import time

    from photonlink.pipeline.watch.history import History as Store

    if not Path(file).is_file():
        raise PhotonlinkError(f"no history file {file!r}", hint="`photonlink watch` makes one")
    store = Store(file)
    writer = csv.writer(sys.stdout)
    try:
        if not node:
            writer.writerow(("node", "link"))
            writer.writerows((f"{site}/{name}", link) for site, name, link in store.nodes())
            return
        now, span = time.time(), _span(since)
        site, _, name = node.partition("/")
        series = store.series(site, name, figures.split(","), now - span, now, points=100_000)
        writer.writerow(series)
        writer.writerows(zip(*series.values(), strict=True))
    finally:
        store.close()


def _span(text: str) -> float:
    """``90m``, ``24h`` or ``30d`` in seconds."""
    units = {"m": 60.0, "h": 3600.0, "d": 86_400.0}
    try:
        found = float(text[:-1]) * units[text[-1:]]
    except (ValueError, KeyError):
        raise PhotonlinkError(f"--since {text!r} is no time such as 90m, 24h or 30d") from None
    if not 0 < found < 1e9:
        raise PhotonlinkError(f"--since {text!r} is beyond what is kept (ten years)")
    return found
