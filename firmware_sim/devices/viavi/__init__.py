"""Emulated Viavi."""
