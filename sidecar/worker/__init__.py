"""The data plane: what carries the requests of clients to the hub and its answers back, each along the line in `gateway.py`."""
