"""The agent's wing: publish runs, in steps that can be retried."""
