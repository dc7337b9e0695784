"""What is asked of stored use: reports over the series, and the log of single calls."""
