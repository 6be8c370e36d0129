"""The ASGI application: websockets and REST on the same paths as Ably."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route, WebSocketRoute

from ably_ai_transport.local.web.rest import RestApi
from ably_ai_transport.local.web.websocket import WebSocketEndpoint

if TYPE_CHECKING:
    from ably_ai_transport.local.core.apps import Apps

_METHODS = ["GET", "POST", "PATCH", "PUT", "DELETE"]


def create_app(apps: Apps) -> Starlette:
    """Return an application that serves the apps; it can be mounted into another one."""
    rest = RestApi(apps)
    origins = apps.default.options.cors_origins
    # The JavaScript SDK asks with credentials in browsers, and they take no wildcard for an answer then.
    anywhere = "*" in origins
    cors = Middleware(
        CORSMiddleware,
        allow_origins=[] if anywhere else list(origins),
        allow_origin_regex=".*" if anywhere else None,
        allow_credentials=True,
        allow_methods=_METHODS,
        allow_headers=["*"],
        expose_headers=["Link", "X-Ably-Errorcode", "X-Ably-Errormessage"],
    )
    return Starlette(
        routes=[
            WebSocketRoute("/", WebSocketEndpoint(apps)),
            Route("/{path:path}", rest.handle, methods=_METHODS),
        ],
        middleware=[cors],
    )
