"""What /metrics exports: the catalogue, the counts behind it, and the text."""
