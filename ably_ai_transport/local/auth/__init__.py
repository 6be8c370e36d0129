"""Authentication: API keys, capabilities, credentials and tokens."""
