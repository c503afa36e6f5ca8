"""Planning of links: their description, expected counts, and expected key."""
