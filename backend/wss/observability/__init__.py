"""What an operator sees: metrics, log lines, and what the workers report of themselves."""
