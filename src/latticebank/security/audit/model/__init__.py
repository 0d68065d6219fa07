"""What an entry of the log is, and what the log may sign."""
