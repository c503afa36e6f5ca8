"""Stand-ins for vendors' Python packages: modules with the same names that talk to an emulator."""
