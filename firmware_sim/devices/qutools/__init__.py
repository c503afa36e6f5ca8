"""Emulated qutools instruments."""
