"""What is unusual about one key, or one network: traits, sums and signals. No store, no clock, no network."""
