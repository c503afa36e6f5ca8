"""Emulated ID Quantique instruments."""
