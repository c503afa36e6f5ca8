"""``python -m photonlink.pipeline.cli``."""

from photonlink.pipeline.cli.main import main

main()
