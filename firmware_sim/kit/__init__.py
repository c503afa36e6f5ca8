"""What every emulated instrument is made of: see docs/instruments/emulators.md."""
