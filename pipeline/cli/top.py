"""``photonlink top``: the links of a broker in a terminal."""

from pathlib import Path
from typing import Annotated

import typer

from photonlink.pipeline.cli.view import Plain


def top(
    broker: Annotated[
        str, typer.Option(help="mqtt://[USER@]HOST[:PORT], or mqtts:// with TLS.")
    ] = "mqtt://127.0.0.1:1883",
    node: Annotated[
        str | None, typer.Option(help="Instead: http://HOST:PORT of one node ([status] listen).")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="The broker user's password, one line.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="CA of the broker's certificate.")] = None,
    client_certificate: Annotated[
        Path | None, typer.Option(help="Our certificate for the broker.")
    ] = None,
    client_key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    plain: Plain = False,
) -> None:
    """Watch any number of links in a terminal: is key made, why not, since when."""
    import asyncio
    import sys

    from photonlink.pipeline.status.connection import BrokerAddress
    from photonlink.pipeline.top.lines import Lines, on_terminal
    from photonlink.pipeline.top.model import Model
    from photonlink.pipeline.top.watching import in_lines
    from photonlink.pipeline.watch.listener import BrokerListener
    from photonlink.pipeline.watch.node_listener import NodeListener

    address = BrokerAddress.parse(
        broker, password_file=password_file, ca=ca, certificate=client_certificate, key=client_key
    )
    model = Model(f"photonlink top {node or broker}")
    listener: BrokerListener | NodeListener = (
        NodeListener(node, model.message) if node else BrokerListener(address, model.message)
    )
    model.trouble = lambda: listener.trouble
    if not plain and on_terminal():
        from photonlink.pipeline.top.run import while_open

        asyncio.run(while_open(model, listener.run()))
    else:
        asyncio.run(in_lines(Lines(model, sys.stdout), listener.run()))
