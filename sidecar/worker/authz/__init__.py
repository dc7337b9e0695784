"""The authorizer: the same line up to the limit, for a proxy that forwards by itself and only asks."""
