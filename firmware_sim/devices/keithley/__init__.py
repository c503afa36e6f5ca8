"""Emulated Keithley."""
