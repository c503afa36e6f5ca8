"""Emulated chrony."""
