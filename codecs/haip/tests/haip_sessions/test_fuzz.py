"""Whatever arrives, over any transport: the server stays alive, nothing fails unnoticed, no task is left."""

import asyncio
import base64
import json
import logging
import os
from collections.abc import Sequence
from typing import Any, Final, get_args

import anyio
import httpx
import pytest
from ably_ai_transport_haip.protocol import HaipEventType, new_id
from ably_ai_transport_haip.protocol.names import wire_name
from ably_ai_transport_haip.protocol.payloads import Payload
from ably_ai_transport_haip.server import HaipServerOptions, ServerTool, ToolCall
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.haip_stand import Inbox, Stand, parrot, standing, token
from tests.support.haip_wire import schema_check

Json = dict[str, Any]

EXAMPLES: Final = int(os.environ.get("AIT_FUZZ_EXAMPLES", "25"))
BY_THE_CLOCK: Final = 1_795_000_000_000
"""The first number of a client like the reference SDK."""
DEEP: Final = "[" * 5000 + "]" * 5000
NAMES: Final = sorted({wire_name(event, dialect) for event in HaipEventType for dialect in ("text", "plain")})
FIELDS: Final = sorted({*(name for model in get_args(Payload) for name in model.model_fields), "schema"})


class Raw(str):
    """A piece of JSON text that no JSON library writes."""

    __slots__ = ()


raw = st.sampled_from(["NaN", "-Infinity", "1e999", "9" * 5000, DEEP, '"\\ud83d"', '"\\ude00x"', "{}", "[]"])
words = st.sampled_from(["USER", "AGENT", "SYSTEM", "echo", "OK", "1", "9" * 20, "9" * 21, "é", "\ud83d", ""])
ids = st.sampled_from([new_id(), new_id(), "0190b5c0-7d4a-7000-8000-000000000000", "no id"])
scalars = st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats(0, 1) | words | ids | raw.map(Raw)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
payloads = st.dictionaries(st.sampled_from(FIELDS), values, max_size=6)
SOUND: Final[Json] = {"message_id": new_id(), "mime": "audio/wav"}
LIKELY: Final[Sequence[tuple[str, Json]]] = (
    ("PING", {"nonce": "n", "copied": Raw("NaN")}),
    ("RUN_STARTED", {"run_id": new_id(), "metadata": {"deep": Raw(DEEP)}}),
    ("RUN_STARTED", {"run_id": new_id()}),
    ("TEXT_MESSAGE_PART", {"message_id": new_id(), "text": "half \ud83d"}),
    ("TEXT_MESSAGE_END", {"message_id": new_id(), "tokens": "1"}),
    ("TOOL_CALL", {"call_id": new_id(), "tool": "echo", "params": {"a": Raw('"\\ude00"')}}),
    ("TOOL_CALL", {"call_id": new_id(), "tool": "echo", "params": {"a": [[[[1]]]]}}),
    ("TOOL_DONE", {"call_id": new_id(), "result": Raw("1e999")}),
    ("AUDIO_CHUNK", {**SOUND, "data": "é"}),
    ("AUDIO_CHUNK", {**SOUND, "data": "YWJj"}),
    ("REPLAY_REQUEST", {"from_seq": "1"}),
    ("FLOW_UPDATE", {"channel": "AGENT", "add_messages": 2**62}),
    ("PAUSE_CHANNEL", {"channel": "AGENT"}),
    ("RESUME_CHANNEL", {"channel": "AGENT"}),
    ("HAI", {}),
)
bodies = st.sampled_from(LIKELY) | st.tuples(st.sampled_from(NAMES), payloads)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "id": ids | scalars,
        "session": ids | scalars,
        "seq": words | scalars,
        "ack": words | scalars,
        "ts": scalars,
        "channel": words | scalars,
        "pv": scalars,
        "crit": scalars,
        "bin_len": st.integers(0, 8) | scalars,
        "bin_mime": scalars,
        "run_id": ids | scalars,
        "thread_id": words | scalars | st.just("t" * 200),
        "unknown": scalars,
    },
)
frames = st.one_of(
    st.tuples(bodies, envelopes),
    st.tuples(bodies, st.just(Json())),
    st.binary(max_size=12),
    st.sampled_from(["", "{", "null", "[]", '"HAI"', DEEP, "{" * 3000, "\x00"]),
)
Frame = tuple[tuple[str, Json], Json] | bytes | str


def written(value: object) -> str:
    """Write JSON, with :class:`Raw` pieces as they are."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        items: Json = value  # pyright: ignore[reportUnknownVariableType]
        return "{" + ",".join(f"{json.dumps(key)}:{written(inner)}" for key, inner in items.items()) + "}"
    if isinstance(value, list):
        inner: list[object] = value  # pyright: ignore[reportUnknownVariableType]
        return "[" + ",".join(map(written, inner)) + "]"
    return json.dumps(value)


def texts(sent: Sequence[Frame], session: str, first: int) -> list[str | bytes]:
    """Write frames. Those without a number of their own are numbered without gaps."""
    out: list[str | bytes] = [written(flat("HAI", HELLO, session, first))]
    number = first + 1
    for frame in sent:
        if isinstance(frame, str | bytes):
            out.append(frame)
            continue
        (kind, payload), more = frame
        out.append(written({**flat(kind, payload, session, number), **more}))
        number += "seq" not in more
    return out


HELLO: Final[Json] = {"haip_version": "1.1.2", "accept_major": [1], "accept_events": NAMES}


def flat(kind: str, payload: Json, session: str, number: int) -> Json:
    known = {"id": new_id(), "session": session, "seq": str(number), "ts": "1", "channel": "USER"}
    return {**known, "type": kind, "payload": payload}


def check_received(text: str) -> None:
    """Check a frame of the server against the published schema, if that is at hand."""
    check = schema_check()
    # Peers that count by the clock get the run id of RUN_FINISHED in its payload, too.
    if check is not None and text.startswith("{") and '"RUN_FINISHED"' not in text:
        check(json.loads(text, parse_constant=pytest.fail))
    text.encode()


async def over_socket(stand: Stand, sent: Sequence[str | bytes]) -> None:
    try:
        async with connect(f"ws://127.0.0.1:{stand.port}/?token={token('mallory')}", proxy=None) as socket:
            for frame in sent:
                await socket.send(frame)
            # The answer shows that everything before it was handled, if the connection is still there.
            await socket.send(written(flat("PING", {"nonce": "last"}, new_id(), 2**50)))
            with anyio.move_on_after(0.2):
                while "last" not in (received := str(await socket.recv())):
                    check_received(received)
    except ConnectionClosed:
        return


async def over_http(stand: Stand, sent: Sequence[str | bytes], path: str) -> None:
    headers = {"Authorization": f"Bearer {token('mallory')}"}
    address = f"http://127.0.0.1:{stand.port}{path}"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=20) as http,
        http.stream("GET", address, headers=headers),
    ):
        for frame in sent:
            if isinstance(frame, str):
                body, kind = frame.encode(errors="surrogatepass"), "X-HAIP-Message"
            else:
                body, kind = base64.b64encode(frame) if len(frame) % 2 else frame, "X-HAIP-Binary"
            answer = await http.post(
                address, content=body, headers={**headers, kind: "true", "Content-Type": "application/json"}
            )
            assert answer.status_code < 500


async def over_lines(stand: Stand, sent: Sequence[str | bytes]) -> None:
    """Send frames as the lines of one request, whose response is the stream."""
    lines = [frame.encode(errors="surrogatepass") if isinstance(frame, str) else frame for frame in sent]
    headers = {"Authorization": f"Bearer {token('mallory')}", "Content-Type": "application/x-ndjson"}
    async with (
        httpx.AsyncClient(trust_env=False, timeout=20) as http,
        http.stream(
            "POST", f"http://127.0.0.1:{stand.port}/haip/stream", headers=headers, content=b"\n".join(lines)
        ) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.strip():
                return


async def echo(call: ToolCall) -> object:
    return dict(call.params)


ANY: Final[Json] = {"$ref": "#/$defs/any"}
RECURSIVE: Final[Json] = {"$defs": {"any": {"items": ANY}}, "additionalProperties": ANY}


@pytest.mark.parametrize("way", ["websocket", "sse", "http", "lines"])
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(sent=[(body, {}) for body in LIKELY], first=1)
@example(sent=[(body, {}) for body in LIKELY], first=BY_THE_CLOCK)
@given(sent=st.lists(frames, max_size=12), first=st.sampled_from([1, BY_THE_CLOCK]))
def test_whatever_arrives_the_server_goes_on(
    way: str, caplog: pytest.LogCaptureFixture, sent: Sequence[Frame], first: int
) -> None:
    caplog.clear()
    asyncio.run(attack(way, texts(sent, new_id(), first)))
    failures = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert failures == []


async def attack(way: str, sent: Sequence[str | bytes]) -> None:
    options = HaipServerOptions(close_timeout=0.5)
    async with standing(parrot, tools=[ServerTool("echo", echo, "", RECURSIVE)], options=options) as stand:
        match way:
            case "websocket":
                await over_socket(stand, sent)
            case "sse" | "http":
                await over_http(stand, sent, "/haip/sse" if way == "sse" else "/haip/stream")
            case _:
                await over_lines(stand, sent)
        async with stand.client() as alice:
            inbox = Inbox(alice)
            await alice.send_text_message("USER", "alive?")
            await inbox.until(1, "MESSAGE_END")
            assert inbox.text() == "alive?"
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert left == set()
