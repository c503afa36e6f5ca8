"""Emulated Thorlabs."""
