"""Who is told of an anomaly, and the way there."""
