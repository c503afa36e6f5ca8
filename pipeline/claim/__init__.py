"""The claim, checked: vectors, published links, soundness by simulation; and the page about it."""
