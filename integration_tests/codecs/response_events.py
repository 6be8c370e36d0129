"""Responses that no model has streamed, as events of OpenAI's stream."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from integration_tests.codecs.values import Values
from integration_tests.differential.script import Json

CALLS: Final = ("call-1", "call-2", "call-3")
HOSTED: Final[Sequence[Json]] = (
    {"type": "response.web_search_call.searching", "item_id": "ws", "output_index": 0},
    {"type": "response.output_text.annotation.added", "item_id": "i1", "annotation": {}},
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "web_search_call", "id": "w"}},
    {"type": "response.output_item.done", "output_index": 0, "item": {"type": "mcp_call", "id": "w"}},
)
DROPPED: Final = (
    "response.created",
    "response.in_progress",
    "response.queued",
    "response.completed",
    "response.incomplete",
    "response.failed",
    "error",
    "response.content_part.done",
    "response.reasoning_summary_part.done",
)
STATUSES: Final = ("completed", "incomplete", "in_progress")


class EventComposer:
    """Composes a response. Streams are used as they should be; all else comes in any order.

    Args:
        random: Chooses.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._values = Values(random)
        self._events: list[Json] = []
        self._items: dict[str, str] = {}
        self._open: dict[str, Json] = {}
        self._used: set[str] = set()
        self._sequence = 0

    def compose(self, length: int) -> list[Json]:
        """Compose a response of so many deeds.

        Args:
            length: How many.

        Returns:
            The events.
        """
        self._put("response.created", response={"id": "resp"})
        for _ in range(length):
            self._random.choice(self._deeds())()
        if self._random.random() < 0.7:
            for stream in list(self._open):
                self._close(stream)
            for item_id in self._items:
                self._finish(item_id)
        return self._events

    def _deeds(self) -> list[Callable[[], None]]:
        deeds: list[Callable[[], None]] = [self._add_item, self._add_item, self._own, self._frame]
        if any(kind != "function_call" for kind in self._items.values()):
            deeds += [self._open_part] * 4
        if self._items:
            deeds += [self._finish_any]
        if self._open:
            deeds += [self._delta] * 8 + [self._close_any] * 3
        return deeds

    def _put(self, kind: str, **fields: object) -> None:
        self._sequence += 1
        self._events.append({"type": kind, **fields, "sequence_number": self._sequence})

    def _add_item(self) -> None:
        item_id = f"i{len(self._items) + 1}"
        kind = self._items[item_id] = self._random.choice(("message", "reasoning", "function_call"))
        item: Json = {"id": item_id, "type": kind}
        match kind:
            case "message":
                item |= {"role": "assistant", "status": "in_progress", "content": []}
            case "reasoning":
                item |= {"summary": []}
                if self._random.random() < 0.3:
                    item |= {"encrypted_content": "secret"}
            case _:
                item |= {
                    "call_id": self._random.choice(CALLS),
                    "name": "weather",
                    "arguments": "",
                    "status": "in_progress",
                }
                self._open[item_id] = {"kind": "function_call_arguments", "item_id": item_id}
        if self._random.random() < 0.2:
            item["extra"] = self._values.json()
        self._put("response.output_item.added", output_index=len(self._items) - 1, item=item)

    def _open_part(self) -> None:
        item_id, kind = self._random.choice([one for one in self._items.items() if one[1] != "function_call"])
        index = self._random.choice((0, 0, 1, 1, 2))
        if kind == "message":
            part: Json = self._random.choice(
                ({"type": "output_text", "text": "", "annotations": []}, {"type": "refusal", "refusal": ""})
            )
        else:
            part = self._random.choice(
                ({"type": "summary_text", "text": ""}, {"type": "reasoning_text", "text": ""})
            )
        part = dict(part)
        is_summary = part["type"] == "summary_text"
        stream = f"{item_id}:{'summary:' if is_summary else ''}{index}"
        if stream in self._used:
            return
        self._used.add(stream)
        key = "summary_index" if is_summary else "content_index"
        where: Json = {"item_id": item_id, "output_index": int(item_id[1:]) - 1, key: index}
        name = "reasoning_summary_text" if is_summary else part["type"]
        self._open[stream] = {"kind": name, **where}
        opener = "response.reasoning_summary_part.added" if is_summary else "response.content_part.added"
        self._put(opener, **where, part=part)

    def _delta(self) -> None:
        where = dict(self._open[self._random.choice(list(self._open))])
        kind = where.pop("kind")
        self._put(f"response.{kind}.delta", **where, delta=self._values.text(), logprobs=[])

    def _close_any(self) -> None:
        self._close(self._random.choice(list(self._open)))

    def _close(self, stream: str) -> None:
        where = dict(self._open.pop(stream))
        kind = where.pop("kind")
        whole = {"refusal": "refusal", "function_call_arguments": "arguments"}.get(kind, "text")
        where.setdefault("output_index", int(where["item_id"][1:]) - 1)
        self._put(f"response.{kind}.done", **where, **{whole: "all of it"})

    def _finish_any(self) -> None:
        self._finish(self._random.choice(list(self._items)))

    def _finish(self, item_id: str) -> None:
        kind = self._items[item_id]
        item: Json = {"id": item_id, "type": kind}
        if self._random.random() < 0.9:
            item["status"] = self._random.choice(STATUSES)
        if kind == "message":
            logprobs = [{"token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": []}]
            item["content"] = [
                self._random.choice(
                    (
                        {"type": "output_text", "text": "x", "logprobs": logprobs},
                        {"type": "output_text", "text": "x", "logprobs": []},
                        {"type": "output_text", "text": "x"},
                        {"type": "refusal", "refusal": "no"},
                    )
                )
                for _ in range(self._random.randint(0, 3))
            ]
        if kind == "reasoning":
            item["summary"] = []
            item["encrypted_content"] = self._random.choice((None, "secret", ""))
        self._put("response.output_item.done", output_index=int(item_id[1:]) - 1, item=item)

    def _own(self) -> None:
        call = self._random.choice(CALLS)
        if self._random.random() < 0.5:
            output = self._random.choice(("21 degrees", [{"type": "input_text", "text": "21"}]))
            item = {"type": "function_call_output", "call_id": call, "output": output}
            self._events.append({"type": "function_call_output", "item": item})
        else:
            asked = {"call_id": call, "name": "weather", "arguments": '{"city":"Lisboa"}'}
            self._events.append({"type": "tool-approval-request", **asked})

    def _frame(self) -> None:
        if self._random.random() < 0.2:
            self._events.append(dict(self._random.choice(HOSTED)))
        else:
            self._put(self._random.choice(DROPPED), response={"id": "resp"}, part={}, item_id="i1")


def compose_inputs(random: Random) -> list[Json]:
    """Compose what clients say."""
    values = Values(random)
    inputs: list[Json] = []
    for _ in range(random.randint(1, 4)):
        call = random.choice(CALLS)
        match random.choice(("user", "result", "error", "approval", "regenerate")):
            case "user":
                count = random.randint(0, 3)
                content = [{"type": "input_text", "text": values.text()} for _ in range(count)]
                message = {"role": "user", "items": [{"type": "message", "role": "user", "content": content}]}
                inputs.append({"kind": "user-message", "message": message})
            case "result":
                output = random.choice(("21", [{"type": "input_text", "text": "21"}]))
                payload: Json = {"call_id": call, "output": output}
                inputs.append({"kind": "tool-result", "codecMessageId": "m", "payload": payload})
            case "error":
                payload = {"call_id": call, "message": values.text()}
                inputs.append({"kind": "tool-result-error", "codecMessageId": "m", "payload": payload})
            case "approval":
                payload = {"call_id": call, "approved": random.random() < 0.5}
                if random.random() < 0.5:
                    payload["reason"] = values.text()
                inputs.append({"kind": "tool-approval-response", "codecMessageId": "m", "payload": payload})
            case _:
                inputs.append({"kind": "regenerate", "target": "m", "parent": "p"})
    return inputs
