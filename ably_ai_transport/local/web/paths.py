"""Paths of REST requests: their segments, each decoded on its own, and channels called `.` and `..`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from starlette.requests import Request

_OF_CHANNEL: Final = ("messages", "history", "presence", "publish")
_OF_MEMBERS: Final = frozenset({"limit", "clientId", "connectionId", "cursor"})
_OF_HISTORY: Final = frozenset({"limit", "direction", "start", "end", "from_serial", "fromSerial", "cursor"})


def method_of(request: Request) -> str:
    """Return the method; HEAD is answered as GET, and the web server leaves the body out."""
    return "GET" if request.method == "HEAD" else request.method


def segments_of(request: Request) -> list[str]:
    """Return the segments of the path, each decoded separately: channel names may contain slashes.

    A plus is a space: the Python SDK encodes names as forms do, and no SDK leaves a plus as it is.
    """
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    path = raw.decode("latin-1")
    root = request.scope.get("root_path", "")
    if root and path.startswith(root):
        path = path[len(root) :]
    return _restored(request, [unquote_plus(segment) for segment in path.strip("/").split("/")])


def _restored(request: Request, segments: list[str]) -> list[str]:
    """Put the names `.` and `..` back where clients have resolved them, as URLs demand.

    `/channels/../messages` arrives as `/messages`, `/channels/./messages` as `/channels/messages`. Only paths
    without another meaning are restored: batch requests and the status of a channel called `messages` stay.
    """
    query = request.query_params.keys()
    match method_of(request), segments:
        case ("GET", ["presence"]) if "channels" in query or _OF_MEMBERS.isdisjoint(query):
            return segments
        case ("POST", ["messages"]):
            return segments
        case (_, [first, *_]) if first in _OF_CHANNEL:
            return ["channels", "..", *segments]
        case ("GET", ["channels", first]) if first in _OF_CHANNEL and not _OF_HISTORY.isdisjoint(query):
            return ["channels", ".", first]
        case ("POST", ["channels", "messages" | "publish" as first]):
            return ["channels", ".", first]
        case (_, ["channels", "messages", second, *rest]) if second not in _OF_CHANNEL:
            return ["channels", ".", "messages", second, *rest]
        case _:
            return segments
