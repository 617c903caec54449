"""CPU and memory per message, handshake and idle client, of this stack and of other servers, measured in one run."""
