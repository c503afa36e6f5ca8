"""Emulated Keysight."""
