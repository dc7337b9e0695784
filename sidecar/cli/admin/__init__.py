"""The commands that speak the admin API."""
