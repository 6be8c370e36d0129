"""The ASGI application: the websocket endpoint and the REST routes, on the same paths as on Ably."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.routing import Route, WebSocketRoute

from ably_ai_transport.local.protocol.channels import split_name
from ably_ai_transport.local.protocol.parse import integer_of
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request, internal_error
from ably_ai_transport.local.web.batch import batch_presence, batch_publish, is_batch
from ably_ai_transport.local.web.channels import ChannelRoutes
from ably_ai_transport.local.web.http import Reply, body_of, credentials_of, is_simple, respond
from ably_ai_transport.local.web.paths import method_of, segments_of
from ably_ai_transport.local.web.websocket import WebSocketEndpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from ably_ai_transport.local.auth.credentials import Identity
    from ably_ai_transport.local.core.apps import Apps
    from ably_ai_transport.local.core.engine import Engine
    from ably_ai_transport.local.protocol.frames import Value

logger = logging.getLogger("ably_ai_transport.local")

_NOT_HERE: Final = {
    "push": "push notifications",
    "annotations": "annotations",
    "objects": "LiveObjects",
    "object": "LiveObjects",
}


_METHODS: Final = ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"]


def create_app(apps: Apps) -> Starlette:
    """Return the ASGI application of some apps; it can be mounted into another one."""
    rest, websockets = RestApi(apps), WebSocketEndpoint(apps)
    origins = apps.default.options.cors_origins
    # In browsers, the JavaScript SDK sends credentials; a wildcard is not accepted as an answer then.
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
            WebSocketRoute("/", websockets),
            # Version 4 of the Python SDK appends a port to every endpoint, after the slash of
            # `python_options`.
            WebSocketRoute("/:{port:int}", websockets),
            Route("/{path:path}", rest.handle, methods=_METHODS),
        ],
        middleware=[cors],
    )


class RestApi:
    """The REST routes."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps

    async def handle(self, request: Request) -> Response:
        """Answer one request; a refusal becomes an error response as on Ably."""
        self._apps.default.stats.requests += 1
        try:
            reply = await self._route(request)
            return respond(request, reply)
        except RefusedError as caught:
            refusal = caught
            logger.debug(
                "%s %s refused: %s",
                request.method,
                request.url.path,
                refusal.message,
                extra={"code": refusal.code},
            )
        except ClientDisconnect:
            refusal = bad_request("the request ended before its body")
        except Exception:
            logger.exception("unable to answer %s %s", request.method, request.url.path)
            refusal = internal_error()
        self._apps.default.stats.refuse(refusal.code)
        return respond(request, refusal)

    async def _route(self, request: Request) -> Reply:
        method = method_of(request)
        match segments_of(request):
            case ["time"] if method == "GET":
                return Reply([self._apps.default.clock.now()])
            case ["keys", key_name, "requestToken"] if method == "POST":
                return await self._request_token(request, key_name)
            case ["keys", key_name, "revokeTokens"] if method == "POST":
                return await self._revoke_tokens(request, key_name)
            case ["stats"] if method in ("GET", "POST"):
                self._identify(request)
                return Reply([], status=201 if method == "POST" else 200)
            case ["messages"] if method == "POST":
                engine, identity = self._identify(request)
                body = await self._body(request)
                if not is_batch(body):  # a publish to a channel called `..`, whose path the client resolved
                    return ChannelRoutes(engine).publish(request, identity, "..", body)
                return batch_publish(engine, identity, body, _version(request))
            case ["presence"] if method == "GET":
                engine, identity = self._identify(request)
                return batch_presence(engine, identity, request.query_params.get("channels", ""))
            case ["channels"] if method == "GET":
                engine, identity = self._identify(request)
                return ChannelRoutes(engine).names(request, identity)
            case ["channels", label, *rest]:
                _refuse_missing(rest)
                engine, identity = self._identify(request)
                name, _ = split_name(label)
                return await ChannelRoutes(engine).answer(request, identity, name, rest)
            case ["push", *_]:
                raise _missing("push")
            case ["apps"] if method == "POST":
                return await self._provision(request)
            case ["apps", app_id] if method == "DELETE":
                _, identity = self._identify(request)
                self._apps.delete(app_id, identity)
                return Reply(None, status=204)
            case _:
                raise RefusedError(40400, 404, f"unable to find the path: {method} {request.url.path}")

    def _identify(self, request: Request) -> tuple[Engine, Identity]:
        """Return the app of the credentials, and their identity there."""
        credentials = credentials_of(request)
        engine = self._apps.of(credentials.key_name)
        return engine, engine.authority.identify(credentials)

    async def _body(self, request: Request) -> Value:
        return await body_of(request, self._apps.default.options.limits.max_frame_size)

    # Tokens

    async def _request_token(self, request: Request, key_name: str) -> Reply:
        body = await self._body(request)
        asked: Mapping[str, Value] = body if isinstance(body, dict) else {}
        engine = self._apps.of(key_name)
        credentials = credentials_of(request)
        identity = None
        if (credentials.key or credentials.token) and asked.get("mac") is None:
            identity = engine.authority.identify(credentials)
        return Reply(cast("object", engine.tokens.details(key_name, asked, identity)), status=201)

    async def _revoke_tokens(self, request: Request, key_name: str) -> Reply:
        body = await self._body(request)
        asked: Mapping[str, Value] = body if isinstance(body, dict) else {}
        engine, identity = self._identify(request)
        outcomes = engine.tokens.revoke(key_name, asked, identity)
        applies = [cast("int", outcome["appliesAt"]) for outcome in outcomes if "error" not in outcome]
        if applies:
            engine.connections.revoke(key_name, max(0, max(applies) - engine.clock.now()))
        failures = len(outcomes) - len(applies)
        return Reply(
            {"successCount": len(applies), "failureCount": failures, "results": outcomes}, status=201
        )

    # Apps

    async def _provision(self, request: Request) -> Reply:
        if not self._apps.default.options.sandbox:
            raise RefusedError(
                40400,
                404,
                "unable to provision an app; the sandbox is off (sandbox=True or serve --sandbox)",
            )
        if is_simple(request):
            # Browsers send a form or plain text to any origin, without asking.
            raise RefusedError(40000, 415, "an app must be sent as application/json or application/x-msgpack")
        app = self._apps.provision(await self._body(request))
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        where = {"endpoint": url.hostname or "127.0.0.1", "port": port, "tls": url.scheme == "https"}
        return Reply({**app, **where}, status=201)


def _refuse_missing(path: list[str]) -> None:
    for part in path:
        if part in _NOT_HERE:
            raise _missing(part)


def _missing(part: str) -> RefusedError:
    return RefusedError(40400, 404, f"{_NOT_HERE[part]} are not supported by the local server")


def _version(request: Request) -> int:
    """Return the API version of the client (specification CSV2)."""
    version = request.headers.get("x-ably-version")
    return 0 if version is None else integer_of(version.partition(".")[0], "X-Ably-Version", 0)
