"""From the bytes of a request to a decision: its head, the policy, who the client is, the responses."""
