"""The inspector: a page with the frames of a local server and the conversations on its channels.

It joins two rooms that do not know each other: the server, whose frames it shows, and client sessions, which
follow the conversations. It needs the extra `local`: `pip install "ably-ai-transport[local]"`.
"""

import ably_ai_transport.local  # noqa: F401 - says which extra is missing
from ably_ai_transport.inspector.server import Inspector

__all__ = ["Inspector"]
