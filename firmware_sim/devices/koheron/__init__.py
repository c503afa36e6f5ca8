"""Emulated Koheron."""
