"""Checks of the security claim: vectors, published links, soundness by simulation; and its page."""
