"""Emulated Toptica instruments."""
