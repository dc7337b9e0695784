"""From the spools to the store: what the workers wrote is read, summed and brought there exactly once."""
