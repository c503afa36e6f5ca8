"""``photonlink top``: the links of a broker in a terminal."""

from photonlink.pipeline.cli.options import (
    DEFAULT_BROKER,
    Broker,
    BrokerCa,
    BrokerPassword,
    ClientCertificate,
    ClientKey,
    NodePage,
)
from photonlink.pipeline.cli.view import Plain


def top(
    broker: Broker = DEFAULT_BROKER,
    node: NodePage = None,
    password_file: BrokerPassword = None,
    ca: BrokerCa = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
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
