"""Emulated instruments of Santec."""
