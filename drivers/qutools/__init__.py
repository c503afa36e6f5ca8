"""qutools instruments."""
