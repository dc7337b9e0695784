"""API keys and admin tokens: their form, how they are stored, and how a worker knows them without asking each time."""
