"""Emulated Lake Shore Cryotronics."""
