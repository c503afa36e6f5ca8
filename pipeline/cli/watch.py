"""``photonlink watch``: a web page of all links of a broker."""

from pathlib import Path
from typing import Annotated

import typer

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.cli.history import DEFAULT_HISTORY, History
from photonlink.pipeline.cli.options import (
    DEFAULT_BROKER,
    Broker,
    BrokerCa,
    BrokerPassword,
    ClientCertificate,
    ClientKey,
    NodePage,
)


def watch(
    broker: Broker = DEFAULT_BROKER,
    node: NodePage = None,
    listen: Annotated[str, typer.Option(help="Where the page is served.")] = "127.0.0.1:8080",
    history: History = DEFAULT_HISTORY,
    password_file: BrokerPassword = None,
    ca: BrokerCa = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
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
    from photonlink.pipeline.watch.run import Options, run

    if add_user is not None:
        _add_user(passwords, add_user)
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


def _add_user(passwords: Path | None, name: str) -> None:
    from photonlink.pipeline.watch.access import hash_password

    if passwords is None:
        raise PhotonlinkError("--add-user needs --passwords FILE")
    secret = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    fresh = not passwords.exists()
    with passwords.open("a", encoding="utf-8") as file:
        if fresh:
            passwords.chmod(0o600)
        file.write(f"{name}:{hash_password(secret)}\n")
