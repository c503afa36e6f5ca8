"""The bench as a user meets it: look, set, count, record, switch off. Functions; no terminal."""
