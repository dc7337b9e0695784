"""A hub to try the sidecar with, and to test it against: it answers as a real one does, out of its own head."""
