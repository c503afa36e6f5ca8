"""``photonlink broker-config``: the configuration of a Mosquitto broker for nodes and watchers."""

from pathlib import Path
from typing import Annotated

import typer

from photonlink.hal.errors import PhotonlinkError


def broker_config(
    folder: Annotated[Path, typer.Argument(help="Where the files go; accounts in it stay.")],
    node: Annotated[
        list[str] | None, typer.Option(help="SITE/NODE that writes its own topics; repeat it.")
    ] = None,
    watcher: Annotated[
        list[str] | None, typer.Option(help="Account that reads everything; repeat it.")
    ] = None,
    from_site: Annotated[
        list[str] | None, typer.Option(help="Site whose own broker bridges to this one; repeat it.")
    ] = None,
    listen: Annotated[str, typer.Option(help="HOST:PORT of the broker.")] = "127.0.0.1:1883",
    ca: Annotated[Path | None, typer.Option(help="CA of clients and central broker.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Certificate of the broker.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    client_certificates: Annotated[
        bool,
        typer.Option("--client-certificates", help="Certificates instead of passwords."),
    ] = False,
    bridge_to: Annotated[
        str | None, typer.Option(help="mqtts://HOST[:PORT] of the central broker.")
    ] = None,
    bridge_password_file: Annotated[
        Path | None,
        typer.Option(help="Password of bridge.SITE there, instead of --certificate."),
    ] = None,
    mosquitto: Annotated[str, typer.Option(help="Version of the broker: 2.0 or 2.1.")] = "2.0",
    plugins: Annotated[Path, typer.Option(help="Where 2.1 has its plugins.")] = Path("/usr/lib"),
) -> None:
    """Write a Mosquitto configuration: TLS, an account for each node and watcher, bridges."""
    from photonlink.pipeline.status.connection import BrokerAddress
    from photonlink.pipeline.status.mosquitto import Bridge, BrokerConfigError, BrokerPlan, write
    from photonlink.pipeline.status.password import read_password
    from photonlink.pipeline.watch.access import split_listen

    nodes = tuple(_node(text) for text in node or ())
    bridge = None
    if bridge_to is not None:
        address = BrokerAddress.parse(bridge_to)
        sites = {site for site, _ in nodes}
        if len(sites) != 1:
            raise BrokerConfigError("a bridge carries one site: give the nodes of one site")
        own = (None, None) if bridge_password_file else (certificate, key)
        bridge = Bridge(address.host, address.port, sites.pop(), ca, *map(_whole, own))
    plan = BrokerPlan(
        listen=split_listen(listen), nodes=nodes, watchers=tuple(watcher or ()),
        sites=tuple(from_site or ()), ca=_whole(ca), certificate=_whole(certificate),
        key=_whole(key), client_certificates=client_certificates, version=mosquitto,
        plugins=plugins, bridge=bridge,
    )  # fmt: skip
    password = read_password(bridge_password_file) if bridge_password_file else None
    for path in write(plan, folder, password):
        print(path)
    print(
        "Mosquitto must be able to read the files: chown -R mosquitto, then start it with -c "
        "mosquitto.conf. Carry accounts/NAME.password to its node or watcher."
    )


def _whole(path: Path | None) -> Path | None:
    return path.resolve() if path else None


def _node(text: str) -> tuple[str, str]:
    site, slash, name = text.partition("/")
    if not slash:
        raise PhotonlinkError(f"--node {text!r} is no SITE/NODE")
    return site, name
