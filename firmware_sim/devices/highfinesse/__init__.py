"""Emulated HighFinesse instruments."""
