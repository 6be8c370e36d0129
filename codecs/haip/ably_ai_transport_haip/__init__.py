"""HAIP 1.1.2: the Human-Agent Interaction Protocol, for agents and people in Python."""
