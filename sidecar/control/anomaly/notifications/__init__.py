"""Who is told of an anomaly, in which words, and the way there."""
