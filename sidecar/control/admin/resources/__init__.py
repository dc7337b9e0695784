"""Handlers by resource. Each class is given what it uses, and says which endpoints it serves."""
