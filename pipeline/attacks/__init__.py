"""Eve as a program: attacks on light and line, and an oracle of what they gave her."""
