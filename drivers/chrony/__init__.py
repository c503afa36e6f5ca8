"""Clock of the host as chrony keeps it."""
