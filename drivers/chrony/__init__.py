"""The host's clock, disciplined by chrony."""
