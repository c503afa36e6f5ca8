"""Lets tests import the scripted far ends beside this folder (``wire_peers``)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
