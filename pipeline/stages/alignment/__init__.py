"""Finds and holds polarization from counts, with a fitted model of the controller; pure
functions.
"""
