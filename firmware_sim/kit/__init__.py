"""Common parts of all emulated instruments: see docs/instruments/emulators.md."""
