"""The store: the only package that knows its client, its names and its scripts. The rest of the program has `client.Store`."""
