"""Hubs as data: profiles, which path is forwarded, where a request names its model, how an answer tells its use."""
