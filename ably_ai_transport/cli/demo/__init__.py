"""The demonstration: a local server, an agent behind HTTP, and people who share a conversation."""
