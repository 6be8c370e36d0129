"""REST routes below `/channels`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from ably_ai_transport.local.core.occupancy import count_metrics
from ably_ai_transport.local.protocol.frames import MessageAction
from ably_ai_transport.local.protocol.messages import StoredMessage, parse_submission
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request, unknown_serial
from ably_ai_transport.local.web.http import Reply, body_of
from ably_ai_transport.local.web.pages import history_page, list_page
from ably_ai_transport.local.web.paths import method_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from ably_ai_transport.local.auth.credentials import Identity
    from ably_ai_transport.local.core.channel import Channel
    from ably_ai_transport.local.core.engine import Engine
    from ably_ai_transport.local.protocol.frames import Value

_MUTATIONS: Final = (MessageAction.UPDATE, MessageAction.DELETE, MessageAction.APPEND)


class ChannelRoutes:
    """The routes of an app's channels: messages, presence, status."""

    def __init__(self, engine: Engine) -> None:
        engine.commits.flush()
        self._engine = engine

    async def answer(self, request: Request, identity: Identity, name: str, rest: list[str]) -> Reply:
        """Answer a request about one channel; `rest` is the path after its name.

        Raises:
            RefusedError: The request breaks a rule.
        """
        capability = identity.capability
        match method_of(request), rest:
            case "GET", []:
                capability.check(name, "channel-metadata")
                return self._status(name)
            case "POST", ["messages" | "publish"]:
                body = await body_of(request, self._engine.options.limits.max_frame_size)
                return self.publish(request, identity, name, body)
            case "GET", ["messages" | "history" as path]:
                capability.check(name, "history")
                channel = self._known(name)
                return history_page(request, channel.storage.messages() if channel is not None else (), path)
            case "GET", ["messages", serial]:
                capability.check(name, "history")
                return Reply(self._message(name, serial).wire())
            case "GET", ["messages", serial, "versions"]:
                capability.check(name, "history")
                return list_page(request, self._message(name, serial).versions(), "versions")
            case "PATCH" | "POST", ["messages", serial]:
                return await self._mutate(request, identity, name, serial)
            case "GET", ["presence"]:
                capability.check(name, "presence" if capability.allows(name, "presence") else "subscribe")
                return self._members(request, name)
            case "GET", ["presence", "history"]:
                capability.check(name, "history")
                channel = self._known(name)
                return history_page(
                    request, channel.storage.presence() if channel is not None else (), "history"
                )
            case _:
                raise RefusedError(40500, 405, f"{request.method} is not supported here")

    def names(self, request: Request, identity: Identity) -> Reply:
        """Return the channels of the app, page by page (Ably's REST documentation, channel enumeration)."""
        prefix = request.query_params.get("prefix", "")
        names = sorted(
            channel.name for channel in self._engine.channels.all() if channel.name.startswith(prefix)
        )
        shown = [name for name in names if identity.capability.allows(name, "channel-metadata")]
        if names and not shown:
            identity.capability.check(names[0], "channel-metadata")
        if request.query_params.get("by") == "id":
            return list_page(request, shown, "channels")
        page = list_page(request, shown, "channels")
        return replace(page, body=[self._details(name) for name in cast("list[str]", page.body)])

    def _known(self, name: str) -> Channel | None:
        return self._engine.channels.find(name)

    # Messages

    def publish(self, request: Request, identity: Identity, name: str, body: Value) -> Reply:
        """Publish the message or the messages of a body.

        Raises:
            RefusedError: The publish breaks a rule.
        """
        if request.query_params.get("_forceNack") == "true":
            raise RefusedError(40099, 400, "publish refused by _forceNack")
        items = body if isinstance(body, list) else [body]
        submissions = [parse_submission(item) for item in items]
        if any(submission.action != MessageAction.CREATE for submission in submissions):
            raise bad_request("use PATCH to update, delete or append to a message")
        outcome = self._engine.publish(name, identity, submissions)
        return Reply(
            {"channel": name, "messageId": outcome.message_id, "serials": outcome.serials}, status=201
        )

    async def _mutate(self, request: Request, identity: Identity, name: str, serial: str) -> Reply:
        body = await body_of(request, self._engine.options.limits.max_frame_size)
        submission = parse_submission(body)
        if submission.action not in _MUTATIONS:
            raise bad_request("the action must be an update, a delete or an append")
        if submission.serial not in (None, serial):
            raise bad_request("the serial in the body must be the one in the path")
        submission.serial = serial
        outcome = self._engine.publish(name, identity, [submission])
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

    # Presence and status

    def _members(self, request: Request, name: str) -> Reply:
        channel = self._known(name)
        members = channel.presence.members() if channel is not None else []
        client_id = request.query_params.get("clientId")
        connection_id = request.query_params.get("connectionId")
        chosen = [
            member
            for member in members
            if client_id in (None, member.get("clientId"))
            and connection_id in (None, member.get("connectionId"))
        ]
        return list_page(request, chosen, "presence")

    def _status(self, name: str) -> Reply:
        return Reply(self._details(name))

    def _details(self, name: str) -> dict[str, Any]:
        channel = self._known(name)
        metrics = count_metrics((), 0) if channel is None else self._engine.attachments.metrics(channel)
        # A request for a channel makes it active, as on Ably.
        return {
            "channelId": name,
            "name": name,
            "status": {"isActive": True, "occupancy": {"metrics": metrics}},
        }
