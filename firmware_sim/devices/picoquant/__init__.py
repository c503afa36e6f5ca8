"""Emulated PicoQuant instruments."""
