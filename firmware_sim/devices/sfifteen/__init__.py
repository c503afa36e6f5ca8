"""Emulated S-Fifteen Instruments."""
