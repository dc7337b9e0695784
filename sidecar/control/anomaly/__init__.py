"""Anomaly detection: folds over per-second sums, a score for each key, episodes, and what is done about them."""
