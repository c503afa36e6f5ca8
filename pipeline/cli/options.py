"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Last line on stdout is one JSON object.")]
JsonListOption = Annotated[
    bool, typer.Option("--json", help="Last line on stdout is a JSON list, one item a row.")
]

DEFAULT_BROKER = "mqtt://127.0.0.1:1883"
Broker = Annotated[str, typer.Option(help="mqtt://[USER@]HOST[:PORT], or mqtts:// with TLS.")]
NodePage = Annotated[
    str | None, typer.Option(help="Instead: http://HOST:PORT of one node ([status] listen).")
]
BrokerPassword = Annotated[Path | None, typer.Option(help="The broker user's password, one line.")]
BrokerCa = Annotated[Path | None, typer.Option(help="CA of the broker's certificate.")]
ClientCertificate = Annotated[Path | None, typer.Option(help="Our certificate for the broker.")]
ClientKey = Annotated[Path | None, typer.Option(help="Its key.")]

RecordedSession = Annotated[
    Path | None, typer.Argument(help="A session recorded with 'node --record'.")
]
AliceFile = Annotated[Path | None, typer.Option(help="Alice's recording.")]
BobFile = Annotated[Path | None, typer.Option(help="Bob's recording.")]
MapBob = Annotated[str | None, typer.Option(help="Bob's channels, if others.")]


def session_or_files(folder: Path | None, alice: Path | None, bob: Path | None) -> None:
    """Refuse anything but a recorded session or the files of both ends."""
    if (folder is None) == (alice is None or bob is None):
        raise typer.BadParameter("give the folder of a recorded session, or --alice and --bob")
