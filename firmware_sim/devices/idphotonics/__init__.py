"""Emulated instruments of ID Photonics."""
