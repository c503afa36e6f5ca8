"""Options that several commands share."""

from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Last line on stdout is one JSON object.")]
JsonListOption = Annotated[
    bool, typer.Option("--json", help="Last line on stdout is a JSON list, one item a row.")
]
