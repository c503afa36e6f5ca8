"""The bench for users: list, read, set, count, record, switch off. Functions without a terminal."""
