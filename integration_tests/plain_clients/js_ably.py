"""Plain Ably clients in JavaScript, as many as a test names, in one process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from integration_tests.engines.server import Server
from integration_tests.js_process import RETRY_MS, Json, JsonValue, JsProcess


@dataclass(frozen=True)
class JsChannel:
    """A channel of one of the clients."""

    process: "JsAbly"
    client: str
    channel: str
    options: Json | None = None

    async def _call(self, operation: str, **arguments: object) -> JsonValue:
        return await self.process.call(
            operation, client=self.client, channel=self.channel, options=self.options, **arguments
        )

    async def attach(self) -> None:
        """Attach, and report changes of its state from now on."""
        await self._call("attach")

    async def subscribe(self) -> None:
        """Attach and report messages from now on."""
        await self._call("subscribe")

    async def state(self, wanted: str) -> Json:
        """Wait for a state; return it with its reason."""
        return await self._call("channelState", state=wanted)

    async def changed(self) -> Json:
        """Wait for the next change of state, or the next ATTACHED."""
        return await self.process.event("channel", client=self.client, channel=self.channel)

    async def publish(self, *messages: Json) -> list[str | None]:
        """Publish messages at once; return their serials."""
        return await self._call("publish", messages=list(messages))

    async def append(self, serial: str, data: str, **message: object) -> str | None:
        """Append to a message; return the serial of the version."""
        return await self._call("append", message={"serial": serial, "data": data, **message})

    async def update(self, serial: str, **message: object) -> str | None:
        """Change a message; return the serial of the version."""
        return await self._call("update", message={"serial": serial, **message})

    async def delete(self, serial: str) -> str | None:
        """Delete a message; return the serial of the version."""
        return await self._call("delete", message={"serial": serial})

    async def history(self, **query: object) -> list[list[Json]]:
        """Return the pages of the history."""
        return await self._call("history", query=query)

    async def message(self, serial: str) -> Json:
        """Return the latest version of a message."""
        return await self._call("message", serial=serial)

    async def versions(self, serial: str) -> list[Json]:
        """Return the versions of a message, oldest first."""
        return await self._call("versions", serial=serial)

    async def heard(self, count: int = 1) -> list[Json]:
        """Wait for the next messages."""
        return [
            (await self.process.event("message", client=self.client, channel=self.channel))["message"]
            for _ in range(count)
        ]

    def unheard(self) -> Sequence[Json]:
        """Return the messages that have come and that nobody has asked for."""
        return self.process.seen("message", client=self.client, channel=self.channel)

    async def enter(self, data: object = None) -> None:
        """Become present."""
        await self._call("enter", data=data)

    async def leave(self) -> None:
        """Be present no longer."""
        await self._call("leave")

    async def members(self) -> list[Json]:
        """Return who is present."""
        return await self._call("members")

    async def watch_presence(self) -> None:
        """Report who comes and goes from now on."""
        await self._call("watchPresence")


class JsAbly(JsProcess):
    """The process."""

    def __init__(self, server: Server, *, binary: bool) -> None:
        super().__init__("ably.mjs", label="ably-js")
        self._server = server
        self._binary = binary

    async def __aenter__(self) -> Self:
        return await super().__aenter__()

    async def connect(self, client: str, *, client_id: str | None = None, **options: object) -> Json:
        """Open a client under a name; return its connection's id and state."""
        chosen = self._server.javascript_options(
            client_id,
            useBinaryProtocol=self._binary,
            transportParams={"conn": client},
            disconnectedRetryTimeout=RETRY_MS,
            **options,
        )
        return await self.call("connect", client=client, options=chosen)

    async def connection(self, client: str) -> Json:
        """Return a connection's id and state."""
        return await self.call("connection", client=client)

    async def turn(self, client: str, state: str) -> Json:
        """Wait until a client's connection has changed to a state."""
        return await self.event("connection", client=client, state=state)

    async def close(self, client: str) -> None:
        """Close a client."""
        await self.call("close", client=client)

    def channel(self, client: str, channel: str, **options: object) -> JsChannel:
        """Return a channel of a client."""
        return JsChannel(self, client, channel, options or None)
