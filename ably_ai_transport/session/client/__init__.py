"""The client's wing: follow a conversation, send, steer and cancel."""
