"""Polarization found and held by counts: a model of the controller, fitted; pure functions."""
