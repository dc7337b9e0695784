"""What requests add up to: rows by key, sums of them, and the series in which they are stored."""
