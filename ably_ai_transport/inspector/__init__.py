"""A page that shows what goes through a local server, and the conversations on its channels.

It joins two rooms that do not know each other: the server, whose frames it watches, and observing client
sessions, which tell what the frames mean.
"""

from ably_ai_transport.inspector.server import Inspector

__all__ = ["Inspector"]
