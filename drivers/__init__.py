"""Drivers: one instrument each, in ``<vendor>/<model>.py`` with its registration."""
