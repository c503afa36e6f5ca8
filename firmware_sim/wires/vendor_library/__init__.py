"""Stand-in vendor libraries: one table of prototypes each (``NAME.toml``), C generated from it."""
