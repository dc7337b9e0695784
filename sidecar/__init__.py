"""API keys for an unmodified AIGNE Hub: a reverse-proxy sidecar that checks, forwards and meters."""

__version__ = "0.1.0"
