"""The commands of `sidecar`, named in `commands.py`."""
