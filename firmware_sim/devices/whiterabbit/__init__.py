"""Emulated White Rabbit equipment."""
