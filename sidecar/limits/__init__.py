"""Limits and quotas of keys: what is decided for all workers and replicas at once, in the store."""
