"""Instructions per message and per client, which hardly depend on the machine and on what else it does."""
