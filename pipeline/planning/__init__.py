"""For people who plan links: what a link is, what it will count, what key that makes."""
