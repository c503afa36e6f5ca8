"""The clock of a network interface, disciplined by linuxptp."""
