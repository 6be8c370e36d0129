"""Storage: the contract of channel storage, in memory and in one SQLite file."""
