"""Emulated Newport."""
