"""Channels with `params: {delta: "vcdiff"}` (Ably specification RTL18 to RTL20)."""

from __future__ import annotations

import base64
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol import vcdiff
from ably_ai_transport.local.protocol.frames import Action, Flag
from tests.local.raw_client import WireFormat, raw_client
from tests.local.reading import full_disk
from tests.local.vcdiff_decoder import decode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local.manual_clock import ManualClock
    from tests.local.raw_client import Frame

DELTA = {"delta": "vcdiff"}
LONG = "The text of a message that is long enough for a delta to be shorter. "


class Reader:
    """What an SDK keeps of a channel; it decodes messages as the specification says."""

    def __init__(self) -> None:
        self.last_id: str | None = None
        self.base = b""
        self.deltas = 0

    def read(self, messages: list[Frame]) -> list[str | bytes | None]:
        return [self._read(message) for message in messages]

    def _read(self, message: Frame) -> str | bytes | None:
        data: Any = message.get("data")
        steps: list[str] = message["encoding"].split("/") if "encoding" in message else []
        if steps and steps[-1] == "base64":
            data = base64.b64decode(data)
            steps.pop()
        if steps and steps[-1] == "vcdiff":
            assert message["extras"]["delta"] == {"from": self.last_id, "format": "vcdiff"}
            decoded = decode(data, self.base)
            assert len(data) < len(decoded)
            data = decoded
            steps.pop()
            self.deltas += 1
        else:
            assert "delta" not in (message.get("extras") or {})
        self.last_id = message["id"]
        self.base = data.encode() if isinstance(data, str) else data or b""
        if steps and steps[-1] == "utf-8" and isinstance(data, bytes):
            data = data.decode()
        return data


def is_delta(message: Frame) -> bool:
    return "vcdiff" in message.get("encoding", "").split("/")


# The encoder

values = st.binary(max_size=300)


@given(source=values, target=values)
@example(source=b"", target=b"")
@example(source=b"aa", target=b"aaaa")
@example(source=b"x" * 20_000, target=b"x" * 20_001)
@example(source=b"abcabc", target=b"abc")
def test_a_delta_decodes_to_its_target(source: bytes, target: bytes) -> None:
    assert decode(vcdiff.encode(source, target), source) == target


@given(start=values, end=values, old=values, new=values)
def test_a_delta_carries_only_what_lies_between_the_same_ends(
    start: bytes, end: bytes, old: bytes, new: bytes
) -> None:
    source, target = start + old + end, start + new + end
    delta = vcdiff.encode(source, target)
    assert decode(delta, source) == target
    assert len(delta) <= len(new) + 32


# On the wire


@pytest.mark.parametrize(
    ("label", "params"),
    [("c", DELTA), ("[?delta=vcdiff]c", {})],
)
async def test_attached_names_the_param(server: LocalServer, label: str, params: dict[str, str]) -> None:
    async with raw_client(server) as client:
        attached = await client.attach(label, params={**params, "modes": "publish,subscribe"})
    assert attached["params"] == {**DELTA, "modes": "publish,subscribe"}


@pytest.mark.parametrize("value", ["", "VCDIFF", "bsdiff"])
async def test_an_unknown_kind_of_delta_has_no_effect(server: LocalServer, value: str) -> None:
    async with raw_client(server) as client:
        attached = await client.attach("c", params={"delta": value})
        assert "params" not in attached
        for number in range(2):
            await client.publish("c", {"data": f"{LONG}{number}"})
        assert [m["data"] for m in await client.messages()] == [f"{LONG}0", f"{LONG}1"]


async def test_later_messages_are_deltas(server: LocalServer, wire_format: WireFormat) -> None:
    async with raw_client(server, format_=wire_format) as client, raw_client(server) as whole:
        await client.attach("c", params=DELTA)
        await whole.attach("c")
        for number in range(3):
            await client.publish("c", {"data": f"{LONG}{number}", "encoding": "json", "extras": {"a": 1}})
        first, *others = messages = await client.messages()
        plain = await whole.messages()
    assert (first["data"], first["encoding"], first["extras"]) == (f"{LONG}0", "json", {"a": 1})
    in_json = "/base64" if wire_format == "json" else ""
    assert {m["encoding"] for m in others} == {f"json/utf-8/vcdiff{in_json}"}
    assert others[0]["extras"] == {"a": 1, "delta": {"from": first["id"], "format": "vcdiff"}}
    assert Reader().read(messages) == [f"{LONG}{number}" for number in range(3)]
    assert [m["data"] for m in plain] == [f"{LONG}{number}" for number in range(3)]
    assert [m["extras"] for m in plain] == [{"a": 1}] * 3


async def test_each_attachment_gets_deltas_of_what_it_was_sent(server: LocalServer) -> None:
    async with raw_client(server, echo="false") as alice, raw_client(server) as bob:
        reader, late = Reader(), Reader()
        await alice.attach("c", params=DELTA)
        await bob.publish("c", {"data": f"{LONG}0"})
        await bob.attach("c", params=DELTA)
        await alice.publish("c", {"data": f"{LONG}1"})
        await bob.publish("c", {"data": f"{LONG}2"})
        assert reader.read(await alice.messages()) == [f"{LONG}0", f"{LONG}2"]
        assert late.read(await bob.messages()) == [f"{LONG}1", f"{LONG}2"]
        assert (reader.deltas, late.deltas) == (1, 1)


async def test_a_message_that_a_delta_does_not_shorten_is_whole(server: LocalServer) -> None:
    noise = [random.Random(seed).randbytes(200).hex() for seed in range(2)]  # noqa: S311
    sent = ["short", "shore", *noise, "", LONG, f"{LONG}!"]
    async with raw_client(server) as client:
        await client.attach("c", params=DELTA)
        for data in sent:
            await client.publish("c", {"data": data})
        messages = await client.messages()
    assert Reader().read(messages) == sent
    assert [is_delta(m) for m in messages] == [False] * 6 + [True]


@pytest.mark.parametrize("encoding", ["", "utf-8/cipher+aes-256-cbc"])
async def test_binary_data(server: LocalServer, wire_format: WireFormat, encoding: str) -> None:
    sent = [bytes(range(200)) + bytes((number,)) for number in range(3)]
    async with (
        raw_client(server, format_="msgpack") as publisher,
        raw_client(server, format_=wire_format) as client,
    ):
        await client.attach("c", params=DELTA)
        for data in sent:
            await publisher.publish("c", {"data": data, **({"encoding": encoding} if encoding else {})})
        messages = await client.messages()
    reader = Reader()
    assert reader.read(messages) == sent
    assert reader.deltas == 2
    steps = [*([encoding] if encoding else []), "vcdiff", *(["base64"] if wire_format == "json" else [])]
    assert messages[-1]["encoding"] == "/".join(steps)


async def test_text_after_binary_and_messages_in_one_frame(
    server: LocalServer, wire_format: WireFormat
) -> None:
    async with raw_client(server, format_=wire_format) as client, raw_client(server) as rest:
        await client.attach("c", params=DELTA)
        encoded = base64.b64encode(LONG.encode()).decode()
        await rest.publish("c", {"data": encoded, "encoding": "base64"})
        await rest.publish("c", *({"data": f"{LONG}é{number}"} for number in range(3)))
        reader = Reader()
        read = reader.read(await client.messages())
    assert read == [LONG.encode(), *(f"{LONG}é{number}" for number in range(3))]
    assert reader.deltas == 3


@pytest.mark.parametrize("action", [1, 2, 5])
async def test_changes_are_whole_and_so_is_the_message_after_one(server: LocalServer, action: int) -> None:
    async with raw_client(server) as client:
        await client.attach("c", params=DELTA)
        serial = await client.publish("c", {"data": f"{LONG}0"})
        await client.publish("c", {"data": f"{LONG}1"})
        await client.publish("c", {"action": action, "serial": serial, "data": f"{LONG}2"})
        for number in (3, 4):
            await client.publish("c", {"data": f"{LONG}{number}"})
        messages = await client.messages()
    assert [is_delta(m) for m in messages] == [False, True, False, False, True]
    assert [m["action"] for m in messages] == [0, 0, action, 0, 0]
    assert Reader().read(messages) == [f"{LONG}{number}" for number in range(5)]


async def test_a_client_that_attaches_again_gets_the_rest_whole_and_then_deltas(server: LocalServer) -> None:
    """The recovery of a client that cannot decode a delta (RTL18c)."""
    async with raw_client(server) as client:
        await client.attach("c", params=DELTA)
        for number in range(3):
            await client.publish("c", {"data": f"{LONG}{number}"})
        frames = [f for f in await client.settled() if f["action"] == Action.MESSAGE]
        again = await client.attach("c", params=DELTA, channelSerial=frames[0]["channelSerial"])
        assert again["flags"] & Flag.RESUMED
        await client.publish("c", {"data": f"{LONG}3"})
        messages = await client.messages()
    assert [is_delta(m) for m in messages] == [False, False, True]
    assert Reader().read(messages) == [f"{LONG}{number}" for number in (1, 2, 3)]


async def test_rewound_messages_are_whole_and_the_next_one_is_a_delta(server: LocalServer) -> None:
    async with raw_client(server) as client:
        for number in range(2):
            await client.publish("c", {"data": f"{LONG}{number}"})
        await client.attach("c", params={**DELTA, "rewind": "2"})
        await client.publish("c", {"data": f"{LONG}2"})
        messages = await client.messages()
    assert [is_delta(m) for m in messages] == [False, False, True]
    assert Reader().read(messages) == [f"{LONG}{number}" for number in range(3)]


async def test_attaching_again_without_the_param_ends_deltas(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.attach("c", params=DELTA)
        await client.publish("c", {"data": f"{LONG}0"})
        await client.attach("c")
        await client.publish("c", {"data": f"{LONG}1"})
        assert [m["data"] for m in await client.messages()] == [f"{LONG}0", f"{LONG}1"]


async def test_a_message_about_occupancy_is_no_base(timed_server: LocalServer, clock: ManualClock) -> None:
    async with raw_client(timed_server) as client, raw_client(timed_server) as other:
        await client.attach("c", params={**DELTA, "occupancy": "metrics.connections"})
        for number in range(2):
            await client.publish("c", {"data": f"{LONG}{number}"})
        await other.attach("c")
        clock.advance(1000)
        for number in range(2):
            await client.publish("c", {"data": f"{LONG}{number}"})
        messages = await client.messages()
    assert [m["action"] for m in messages] == [3, 0, 0, 3, 0, 0]
    assert [is_delta(m) for m in messages] == [False, False, True, False, False, True]
    Reader().read(messages)


@pytest.mark.parametrize("encoding", ["vcdiff", "utf-8/vcdiff/base64", "base64/base64"])
async def test_data_that_a_client_decodes_further_is_no_base(server: LocalServer, encoding: str) -> None:
    data = base64.b64encode(LONG.encode()).decode()
    async with raw_client(server, format_="msgpack") as client:
        await client.attach("c", params=DELTA)
        await client.publish("c", {"data": data, "encoding": encoding})
        await client.publish("c", {"data": data})
        assert (await client.messages())[-1]["data"] == data


async def test_a_message_that_is_not_stored_is_no_base(tmp_path: Path) -> None:
    data = tmp_path / "data.sqlite"
    async with LocalServer(LocalServerOptions(data=data)) as server, raw_client(server) as client:
        await client.attach("c", params=DELTA)
        big = LONG * 200
        await client.publish("c", {"data": f"{big}0"})
        with full_disk(data):
            await client.refused("c", {"data": f"{big}1"})
        await client.publish("c", {"data": f"{big}2"})
        messages = await client.messages()
    assert Reader().read(messages) == [f"{big}0", f"{big}2"]
    assert not any(map(is_delta, messages))


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_published_is_read(server: LocalServer, wire_format: WireFormat, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311

    def data() -> str | bytes | None:
        text = LONG * rng.randrange(3)
        at = rng.randrange(len(text) + 1)
        text = f"{text[:at]}{rng.choice(['', 'é', '🎉', 'xyz'])}{text[at:]}"
        return rng.choice([text, text, text, text.encode(), None])

    async with raw_client(server, format_="msgpack") as publisher:
        sent: list[str | bytes | None] = []
        reader = Reader()
        serial = await publisher.publish("c", {"data": LONG})
        async with raw_client(server, format_=wire_format) as client:
            await client.attach("c", params=DELTA)
            for _ in range(40):
                if rng.random() < 0.1:
                    await publisher.publish("c", {"action": 1, "serial": serial, "data": LONG})
                    sent.append(LONG)
                batch = [data() for _ in range(rng.choice([1, 1, 1, 3]))]
                await publisher.publish("c", *({"data": item} for item in batch))
                sent += batch
                if rng.random() < 0.1:
                    assert reader.read(await client.messages()) == sent
                    sent.clear()
                    await client.attach("c", params=DELTA)
            assert reader.read(await client.messages()) == sent
    assert reader.deltas > 5


async def test_bases_are_given_back() -> None:
    """The messages are not stored: only the attachments hold them, each until the next one or its end."""
    text = "x" * 50_000
    limits = Limits(max_memory=400_000)
    async with (
        LocalServer(LocalServerOptions(limits=limits)) as server,
        raw_client(server) as client,
    ):
        for number in range(20):
            await client.attach("c", params=DELTA)
            for _ in range(2):
                await client.publish("c", {"data": f"{text}{number}", "extras": {"ephemeral": True}})
            if number % 2:
                await client.send({"action": Action.DETACH, "channel": "c"})
        assert len(await client.messages()) == 40
