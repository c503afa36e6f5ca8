"""Emulated linuxptp."""
