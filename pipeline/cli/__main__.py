"""``python -m photonlink.pipeline.cli``."""

from photonlink.pipeline.cli.entry import main

main()
