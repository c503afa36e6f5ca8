"""Emulated instruments of Pure Photonics."""
