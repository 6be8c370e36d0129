"""The inspector: a page with the frames of a local server and the conversations on its channels.

It joins two rooms that do not know each other: the server, whose frames it shows, and client sessions, which
follow the conversations. It needs the extra `local`: `pip install "ably-ai-transport[local]"`.
"""

try:
    from ably_ai_transport.inspector.server import Inspector
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "starlette":
        raise
    raise ModuleNotFoundError(
        f'unable to import the inspector; no {error.name} (pip install "ably-ai-transport[local]")',
        name=error.name,
    ) from error

__all__ = ["Inspector"]
