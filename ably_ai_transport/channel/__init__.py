"""The channel room."""
