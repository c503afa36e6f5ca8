"""Emulated OZ Optics."""
