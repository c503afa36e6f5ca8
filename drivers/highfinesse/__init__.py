"""HighFinesse instruments."""
