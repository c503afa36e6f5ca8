"""What programs that act for a person may do at a bench: read; set what they are allowed to."""
