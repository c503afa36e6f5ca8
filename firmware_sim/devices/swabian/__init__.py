"""Emulated Swabian Instruments."""
