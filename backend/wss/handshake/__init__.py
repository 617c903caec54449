"""The opening handshake: the request head, the policy, the identity of the client, the responses."""
