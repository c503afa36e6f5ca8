"""Clock of a network interface as linuxptp keeps it."""
