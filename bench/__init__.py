"""What a message, a handshake and an idle client cost, in the stack and in others, in one run on one machine."""
