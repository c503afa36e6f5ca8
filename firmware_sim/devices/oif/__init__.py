"""Emulated modules of the OIF-ITLA multi-source agreement."""
