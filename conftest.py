"""The fixtures that users have are there for our own tests, too."""

pytest_plugins = ["ably_ai_transport.testing.plugin"]
