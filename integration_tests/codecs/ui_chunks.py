"""Replies that no model has streamed, as chunks of the AI SDK's UI message stream."""

from collections.abc import Callable
from random import Random
from typing import Final

from integration_tests.codecs.values import Values
from integration_tests.differential.script import Json

CALLS: Final = ("call-1", "call-2", "call-3")


class ChunkComposer:
    """Composes a reply. Streams are used as they should be; all else comes in any order, sense or no sense.

    Args:
        random: Chooses.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._values = Values(random)
        self._chunks: list[Json] = []
        self._open: dict[str, str] = {}
        self._streamed: set[str] = set()
        self._has_input: set[str] = set()
        self._ids = 0

    def compose(self, length: int) -> list[Json]:
        """Compose a reply of so many deeds.

        Args:
            length: How many.

        Returns:
            The chunks.
        """
        if self._random.random() < 0.9:
            self._put("start", messageId=self._maybe("own-id"), messageMetadata=self._maybe_json())
        for _ in range(length):
            self._random.choice(self._deeds())()
        if self._random.random() < 0.7:
            for stream_id in list(self._open):
                self._close(stream_id)
        match self._random.choice(("finish", "abort", "error", "none")):
            case "finish":
                reasons = ("stop", "length", "content-filter", "tool-calls", "error", "other")
                self._put("finish", finishReason=self._maybe(self._random.choice(reasons)))
            case "abort":
                self._put("abort", reason=self._maybe(self._values.text()))
            case "error":
                self._put("error", errorText=self._values.text())
            case _:
                pass
        return self._chunks

    def _deeds(self) -> list[Callable[[], None]]:
        deeds: list[Callable[[], None]] = [self._open_text] * 3 + [
            self._step,
            self._tool_whole,
            self._tool_stream,
        ]
        deeds += [self._tool_output] * 2 + [
            self._tool_side,
            self._source,
            self._data,
            self._data,
            self._other,
        ]
        if self._open:
            deeds += [self._delta] * 8 + [self._close_any] * 3
        return deeds

    def _put(self, kind: str, **fields: object) -> None:
        self._chunks.append(
            {"type": kind, **{key: value for key, value in fields.items() if value is not None}}
        )

    def _maybe(self, value: object) -> object:
        return value if self._random.random() < 0.5 else None

    def _maybe_json(self) -> object:
        return self._maybe(self._values.object())

    def _open_text(self) -> None:
        self._ids += 1
        stream_id = f"s{self._ids if self._random.random() < 0.8 else self._random.randint(1, self._ids)}"
        if stream_id in self._open:
            return
        kind = self._open[stream_id] = self._random.choice(("text", "text", "reasoning"))
        self._put(f"{kind}-start", id=stream_id, providerMetadata=self._maybe_json())

    def _delta(self) -> None:
        stream_id = self._random.choice(list(self._open))
        kind = self._open[stream_id]
        if kind == "tool":
            piece = self._random.choice(('{"a"', ":1", "}", '{"b":[', "1,2]", '"x"', ""))
            if piece:
                self._has_input.add(stream_id)
            self._put("tool-input-delta", toolCallId=stream_id, inputTextDelta=piece)
        else:
            self._put(
                f"{kind}-delta", id=stream_id, delta=self._values.text(), providerMetadata=self._maybe_json()
            )

    def _close_any(self) -> None:
        self._close(self._random.choice(list(self._open)))

    def _close(self, stream_id: str) -> None:
        kind = self._open.pop(stream_id)
        if kind == "tool":
            if stream_id not in self._has_input:  # the npm package loses it, see docs/differences.md
                self._put("tool-input-delta", toolCallId=stream_id, inputTextDelta="{}")
            self._has_input.discard(stream_id)
            self._put(
                "tool-input-available",
                toolCallId=stream_id,
                toolName="weather",
                input=self._values.json(),
                providerMetadata=self._maybe_json(),
            )
        else:
            self._put(f"{kind}-end", id=stream_id, providerMetadata=self._maybe_json())

    def _tool_fields(self) -> Json:
        return {
            "toolName": self._random.choice(("weather", "search")),
            "dynamic": self._maybe(self._random.random() < 0.5),
            "title": self._maybe(self._values.text()),
            "providerExecuted": self._maybe(self._random.random() < 0.5),
            "providerMetadata": self._maybe_json(),
        }

    def _tool_stream(self) -> None:
        call = self._random.choice(CALLS)
        if call not in self._open:
            self._open[call] = "tool"
            self._streamed.add(call)
            self._put("tool-input-start", toolCallId=call, **self._tool_fields())

    def _tool_whole(self) -> None:
        call = self._random.choice(CALLS)
        if call in self._streamed:
            return
        if self._random.random() < 0.3:
            text = self._values.text()
            fields = {**self._tool_fields(), "errorText": text}
            self._put("tool-input-error", toolCallId=call, input=self._values.json(), **fields)
        else:
            self._put(
                "tool-input-available", toolCallId=call, input=self._values.json(), **self._tool_fields()
            )

    def _tool_output(self) -> None:
        call = self._random.choice(CALLS)
        flags = {"dynamic": self._maybe(True), "providerExecuted": self._maybe(False)}
        if self._random.random() < 0.3:
            self._put("tool-output-error", toolCallId=call, errorText=self._values.text(), **flags)
        else:
            preliminary = self._maybe(self._random.random() < 0.5)
            output = self._values.json()
            self._chunks.append({"type": "tool-output-available", "toolCallId": call, "output": output})
            self._chunks[-1] |= {
                key: value
                for key, value in {**flags, "preliminary": preliminary}.items()
                if value is not None
            }

    def _tool_side(self) -> None:
        call = self._random.choice(CALLS)
        if self._random.random() < 0.6:
            self._put("tool-approval-request", toolCallId=call, approvalId=f"approval-{call}")
        else:
            self._put("tool-output-denied", toolCallId=call)

    def _source(self) -> None:
        match self._random.choice(("url", "document", "file")):
            case "url":
                title = self._maybe(self._values.text())
                url = f"https://example.com/{self._values.text()}"
                self._put(
                    "source-url", sourceId="s1", url=url, title=title, providerMetadata=self._maybe_json()
                )
            case "document":
                self._put(
                    "source-document",
                    sourceId="s2",
                    mediaType="text/plain",
                    title=self._values.text(),
                    filename=self._maybe("a.txt"),
                    providerMetadata=self._maybe_json(),
                )
            case _:
                url = "data:image/png;base64,AA=="
                self._put("file", url=url, mediaType="image/png", providerMetadata=self._maybe_json())

    def _data(self) -> None:
        self._put(
            self._random.choice(("data-weather", "data-x")),
            id=self._maybe(self._random.choice(("d1", "d2"))),
            data=self._values.json(),
            transient=self._maybe(self._random.random() < 0.5),
        )

    def _step(self) -> None:
        self._put(self._random.choice(("start-step", "start-step", "finish-step")))

    def _other(self) -> None:
        match self._random.choice(("metadata", "unknown", "start", "finish")):
            case "metadata":
                self._put("message-metadata", messageMetadata=self._values.object())
            case "unknown":
                self._put("no-such-chunk", what=1)
            case "start":
                self._put("start", messageMetadata=self._maybe_json())
            case _:
                self._put("finish", messageMetadata=self._maybe_json())


def compose_inputs(random: Random) -> list[Json]:
    """Compose what clients say."""
    values = Values(random)
    inputs: list[Json] = []
    for _ in range(random.randint(1, 4)):
        call = random.choice(CALLS)
        match random.choice(("user", "result", "error", "approval", "regenerate")):
            case "user":
                parts = [_part(random, values) for _ in range(random.randint(0, 4))]
                message = {"id": "said", "role": "user", "parts": parts}
                inputs.append({"kind": "user-message", "message": message})
            case "result":
                payload: Json = {"toolCallId": call, "output": values.json()}
                inputs.append({"kind": "tool-result", "codecMessageId": "m", "payload": payload})
            case "error":
                payload = {"toolCallId": call, "message": values.text()}
                inputs.append({"kind": "tool-result-error", "codecMessageId": "m", "payload": payload})
            case "approval":
                payload = {"toolCallId": call, "approved": random.random() < 0.5}
                if random.random() < 0.5:
                    payload["reason"] = values.text()
                inputs.append({"kind": "tool-approval-response", "codecMessageId": "m", "payload": payload})
            case _:
                inputs.append({"kind": "regenerate", "target": "m", "parent": "p"})
    return inputs


def _part(random: Random, values: Values) -> Json:
    parts: list[Json] = [
        {"type": "text", "text": values.text()},
        {"type": "file", "mediaType": "image/png", "url": "data:,x", "filename": "f"},
        {"type": "data-note", "data": values.json()},
        {"type": "data-note", "id": "n1", "data": values.object()},
        {"type": "source-url", "sourceId": "s", "url": "https://example.com"},
    ]
    return random.choice(parts)
