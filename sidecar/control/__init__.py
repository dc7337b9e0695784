"""What operators see: the fold of events, metrics, admin API, console, audit log and anomalies, composed in `parts.py`."""
