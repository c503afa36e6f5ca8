"""Attacks on light and classical channel as a program, and an oracle that computes what Eve
knows.
"""
