"""Emulated Agiltron."""
