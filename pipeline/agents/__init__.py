"""Access to a bench for programs that act for a person: they read, and set what they are allowed
to.
"""
