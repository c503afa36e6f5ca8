"""Emulated Single Quantum instruments."""
