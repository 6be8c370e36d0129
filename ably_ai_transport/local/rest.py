"""The REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote, urlencode

from ably_ai_transport.local.channel import split_name
from ably_ai_transport.local.history import HistoryQuery, page, parse_query
from ably_ai_transport.local.http import Reply, body_of, credentials_of, respond, segments_of
from ably_ai_transport.local.messages import StoredMessage, parse_submission
from ably_ai_transport.local.protocol import MessageAction
from ably_ai_transport.local.refusals import RefusedError, bad_request, unknown_serial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from ably_ai_transport.local.auth import Identity
    from ably_ai_transport.local.channel import Channel
    from ably_ai_transport.local.engine import Engine
    from ably_ai_transport.local.protocol import Value

_MUTATIONS: Final = (MessageAction.UPDATE, MessageAction.DELETE, MessageAction.APPEND)
_NOT_HERE: Final = ("push", "annotations", "objects", "object", "batch")


class RestApi:
    """Answers HTTP requests."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def handle(self, request: Request) -> Response:
        """Answer one request; refusals become errors as Ably writes them."""
        self._engine.stats.requests += 1
        try:
            reply = await self._route(request)
        except RefusedError as refusal:
            return respond(request, refusal)
        return respond(request, reply)

    async def _route(self, request: Request) -> Reply:
        method = request.method
        match segments_of(request):
            case ["time"] if method == "GET":
                return Reply([self._engine.clock.now()])
            case ["keys", key_name, "requestToken"] if method == "POST":
                return await self._request_token(request, key_name)
            case ["stats"] if method in ("GET", "POST"):
                self._identify(request)
                return Reply([])
            case ["channels", label, *rest] if not any(part in _NOT_HERE for part in rest):
                identity = self._identify(request)
                name, _ = split_name(label)
                return await self._channel_route(request, identity, name, rest)
            case _:
                raise RefusedError(40400, 404, f"no such path here: {method} {request.url.path}")

    async def _channel_route(self, request: Request, identity: Identity, name: str, rest: list[str]) -> Reply:
        capability = identity.capability
        match request.method, rest:
            case "GET", []:
                capability.check(name, "channel-metadata")
                return self._status(name)
            case "POST", ["messages" | "publish"]:
                return await self._publish(request, identity, name)
            case "GET", ["messages" | "history" as path]:
                capability.check(name, "history")
                return self._history(request, name, path)
            case "GET", ["messages", serial]:
                capability.check(name, "history")
                return Reply(self._message(name, serial).wire())
            case "GET", ["messages", serial, "versions"]:
                capability.check(name, "history")
                return Reply(self._message(name, serial).versions())
            case "PATCH" | "POST", ["messages", serial]:
                return await self._mutate(request, identity, name, serial)
            case "GET", ["presence"]:
                capability.check(name, "presence" if capability.allows(name, "presence") else "subscribe")
                return Reply(list(self._presence(request, name)))
            case "GET", ["presence", "history"]:
                capability.check(name, "history")
                raise RefusedError(40000, 400, "presence history is not supported by the local server")
            case _:
                raise RefusedError(40500, 405, f"{request.method} is not supported here")

    def _identify(self, request: Request) -> Identity:
        return self._engine.authority.identify(credentials_of(request))

    def _known(self, name: str) -> Channel | None:
        return self._engine.channels.get(name)

    # Messages

    async def _publish(self, request: Request, identity: Identity, name: str) -> Reply:
        body = await body_of(request)
        items = body if isinstance(body, list) else [body]
        submissions = [parse_submission(item) for item in items]
        if any(submission.action != MessageAction.CREATE for submission in submissions):
            raise bad_request("use PATCH to update, delete or append to a message")
        outcome = self._engine.publishing.rest(name, identity, submissions)
        return Reply(
            {"channel": name, "messageId": outcome.message_id, "serials": outcome.serials}, status=201
        )

    async def _mutate(self, request: Request, identity: Identity, name: str, serial: str) -> Reply:
        body = await body_of(request)
        submission = parse_submission(body)
        if submission.action not in _MUTATIONS:
            raise bad_request("the action must be an update, a delete or an append")
        if submission.serial not in (None, serial):
            raise bad_request("the serial in the body is not that of the path")
        submission.serial = serial
        outcome = self._engine.publishing.rest(name, identity, [submission])
        version = outcome.serials[0]
        return Reply(
            {"channel": name, "messageId": outcome.message_id, "versionSerial": version, "version": version}
        )

    def _message(self, name: str, serial: str) -> StoredMessage:
        channel = self._known(name)
        message = channel.storage.get(serial) if channel is not None else None
        if message is None:
            raise unknown_serial(serial)
        return message

    def _history(self, request: Request, name: str, path: str) -> Reply:
        params = dict(request.query_params)
        query: HistoryQuery = parse_query(params)
        channel = self._known(name)
        found = page(channel.storage.messages() if channel is not None else [], query)
        shown = {key: value for key, value in params.items() if key not in _SECRET_PARAMS}
        first = {key: value for key, value in shown.items() if key != "cursor"}
        # ably-js follows a link only if it is spelt ./<name>?<query>.
        links = {"first": _link(path, first), "current": _link(path, shown)}
        if found.cursor is not None:
            links["next"] = _link(path, {**first, "cursor": found.cursor})
        return Reply(found.items, links=links)

    # The rest

    def _presence(self, request: Request, name: str) -> list[Any]:
        channel = self._known(name)
        members = channel.presence.members() if channel is not None else []
        client_id = request.query_params.get("clientId")
        return [member for member in members if client_id in (None, member.get("clientId"))]

    def _status(self, name: str) -> Reply:
        channel = self._known(name)
        attachments = list(channel.attachments) if channel is not None else []
        members = len(channel.presence) if channel is not None else 0
        metrics = {
            "connections": len({attachment.connection.id for attachment in attachments}),
            "publishers": len(attachments),
            "subscribers": len(attachments),
            "presenceConnections": members,
            "presenceMembers": members,
            "presenceSubscribers": len(attachments),
        }
        status = {"isActive": bool(attachments), "occupancy": {"metrics": metrics}}
        return Reply({"channelId": name, "name": name, "status": status})

    async def _request_token(self, request: Request, key_name: str) -> Reply:
        body = await body_of(request)
        asked: Mapping[str, Value] = body if isinstance(body, dict) else {}
        credentials = credentials_of(request)
        identity = None
        if credentials.key or credentials.token:
            identity = self._engine.authority.identify(credentials)
        details = self._engine.authority.token_details(key_name, asked, identity)
        return Reply(cast("object", details), status=201)


_SECRET_PARAMS: Final = ("key", "access_token", "accessToken")


def _link(path: str, params: Mapping[str, str]) -> str:
    return f"./{path}?{urlencode(params, quote_via=quote)}"
