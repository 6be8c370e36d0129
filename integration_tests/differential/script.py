"""Scripts: what happens to a client session, step by step, in a form that both languages can play.

A step is a JSON object with the name of an operation under ``op``:

========== =============================== ===================================================
deliver    message                         the channel delivers a message
deliverAll messages                        the channel delivers several, and only the end is looked at
refuse                                     the channel refuses what is published next
send       view, said, options             a view sends a message
edit       view, messageId, said           a view replaces a message of a person
regenerate view, messageId                 a view asks for another reply
select     view, messageId, index          a view goes to another branch
newest     view                            a view goes to the newest branch, from the root on
loadOlder  view, limit                     a view reveals older messages
loadUntil  view, messageId                 a view reveals the messages after one
newView                                    one more view
inspect    runIds, messageIds              all that is known of runs and messages is shown
returnTool view, runId, messageId, …       a view answers a suspended run's tool call
forkTool   view, runId, toolCallId, text   a view answers it in a run of its own
cancel     run                             one of the runs that were sent is cancelled
cancelRun  runId                           anybody's run is cancelled
steer      run, said                       one of the runs that were sent is steered
========== =============================== ===================================================

Ids that a session makes up are written ``~0~``, ``~1~``, … in the order in which they are first published: so
a script holds for either side, and what is shown can be compared.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from ably_ai_transport import InboundMessage, OutboundMessage
from ably_ai_transport.wire import MessageAction

Json: TypeAlias = dict[str, Any]

CLIENT_ID: Final = "alice"
UNPUBLISHED: Final = "~unpublished~"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TOKEN = re.compile(r"~\d+~")


@dataclass
class Script:
    """The events in the life of a client session.

    Attributes:
        history: The channel's messages when the session attached, newest first.
        page_size: Messages a page of history.
        steps: The events after that.
        codec: The codec that all speak: ``vercel`` or ``openai``.
    """

    history: Sequence[InboundMessage] = ()
    page_size: int = 100
    steps: list[Json] = field(default_factory=list[Json])
    codec: str = "vercel"

    def at_leisure(self) -> "Script":
        """Return the same for a client that reads all of the past at once, before anything else happens."""
        load = {"op": "loadOlder", "view": 0, "limit": 1000}
        later = [step for step in self.steps if step["op"] not in ("loadOlder", "loadUntil")]
        return Script(self.history, max(1, len(self.history)), [load, *later])

    def to_json(self) -> Json:
        """Return the script as the other language reads it."""
        return {
            "history": [message_to_json(message) for message in self.history],
            "pageSize": self.page_size,
            "clientId": CLIENT_ID,
            "codec": self.codec,
            "steps": self.steps,
        }


class Names:
    """Gives made-up ids names that are the same on either side.

    Args:
        headers: The transport headers that hold such ids.
    """

    def __init__(self, *headers: str) -> None:
        self._headers = headers
        self._tokens: dict[str, str] = {}
        self._raw: dict[str, str] = {}

    def learn(self, message: OutboundMessage) -> None:
        """Name the new ids of a message that is published."""
        said = [message.transport_headers.get(header, "") for header in self._headers]
        for raw in _UUID.findall("".join(said) + json.dumps(message.data)):
            if raw not in self._tokens:
                token = f"~{len(self._raw)}~"
                self._tokens[raw], self._raw[token] = token, raw

    def know(self, value: object) -> None:
        """Let the ids of others stand as they are."""
        for raw in _UUID.findall(json.dumps(value)):
            self._tokens.setdefault(raw, raw)

    def conceal(self, value: Json) -> Json:
        """Write names in place of ids."""
        text = json.dumps(value, ensure_ascii=False)
        return cast("Json", json.loads(_UUID.sub(lambda m: self._tokens.get(m[0], UNPUBLISHED), text)))

    def reveal(self, value: Json) -> Json:
        """Write ids in place of names."""
        self.know(value)
        text = json.dumps(value, ensure_ascii=False)
        return cast("Json", json.loads(_TOKEN.sub(lambda m: self._raw.get(m[0], m[0]), text)))


def identity(message: Mapping[str, Any]) -> object:
    """Return what tells a message from others: its own id, or all of it where it has none."""
    return message.get("id", message)


def message_to_json(message: InboundMessage) -> Json:
    """Write a delivery as the Ably SDK for JavaScript hands it out."""
    return {
        "action": message.action.value,
        "id": message.id,
        "name": message.name,
        "data": message.data,
        "serial": message.serial,
        "version": {"serial": message.version, "timestamp": message.timestamp},
        "timestamp": message.timestamp,
        "clientId": message.client_id,
        "connectionId": message.connection_id,
        "extras": message.extras,
    }


def message_from_json(json: Mapping[str, Any]) -> InboundMessage:
    """Read what :func:`message_to_json` wrote."""
    return InboundMessage(
        action=MessageAction(json["action"]),
        id=json["id"],
        name=json["name"],
        data=json["data"],
        serial=json["serial"],
        version=json["version"]["serial"],
        timestamp=json["timestamp"],
        client_id=json["clientId"],
        connection_id=json["connectionId"],
        extras=json["extras"],
    )


def frame_to_json(message: OutboundMessage) -> Json:
    """Write a published message as the npm package hands it to the SDK."""
    shown = {"name": message.name, "data": message.data, "extras": message.extras}
    return {key: value for key, value in shown.items() if value is not None}
