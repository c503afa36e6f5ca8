"""Emulated Quantum Opus."""
