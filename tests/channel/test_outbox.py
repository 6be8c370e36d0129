"""Tests of the outbox: order within a session, turns between sessions, merged text."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from ably_ai_transport.channel.ably.outbox import Outbox
from ably_ai_transport.channel.ably.publication import Lane, Publication
from ably_ai_transport.channel.acks import Acks
from ably_ai_transport.channel.payload import APPEND

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 1000
EXTRAS: dict[str, object] = {"ai": {"transport": {"status": "streaming"}}}


class Stand:
    """An outbox with lanes, and the acks of what was put into it."""

    def __init__(self, lanes: int, *, merges: bool = True) -> None:
        self.loop = asyncio.new_event_loop()
        self.acks = Acks()
        self.outbox = Outbox()
        self.lanes = [Lane(merges=merges) for _ in range(lanes)]
        self.futures: list[asyncio.Future[Any]] = []

    def close(self) -> None:
        self.loop.close()

    def put(self, lane: int, message: dict[str, Any], size: int = 1) -> Publication:
        future = self.loop.run_until_complete(self._expect())
        self.futures.append(future)
        frame = {"action": 15, "channel": f"c{lane}", "messages": [message]}
        publication = Publication(frame, self.acks, future, list, size, self.lanes[lane])
        self.outbox.put(publication, LIMIT)
        return publication

    async def _expect(self) -> asyncio.Future[Any]:
        return self.acks.expect()

    def text(self, lane: int, target: str, data: str, extras: dict[str, object] = EXTRAS) -> Publication:
        message = {"action": APPEND, "serial": target, "data": data, "extras": extras}
        return self.put(lane, message, len(data))

    def create(self, lane: int, name: str, data: str) -> Publication:
        return self.put(lane, {"name": name, "data": data})

    def take(self, may_leave: Callable[[Publication], bool] = lambda _: True) -> dict[str, Any] | None:
        publication = self.outbox.take(may_leave)
        if publication is None:
            return None
        publication.seal()
        return publication.message["messages"][0] | {"channel": publication.channel}

    def take_all(self) -> list[dict[str, Any]]:
        taken: list[dict[str, Any]] = []
        while (message := self.take()) is not None:
            taken.append(message)
        return taken


PUTS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["text a", "text b", "output", "urgent", "take"]),
    ),
    max_size=60,
)


@given(PUTS, st.booleans())
def test_each_session_keeps_its_order_and_nothing_is_lost(puts: list[tuple[int, str]], merges: bool) -> None:
    stand = Stand(3, merges=merges)
    written: list[tuple[int, str, str]] = []
    taken: list[dict[str, Any]] = []
    for number, (lane, what) in enumerate(puts):
        data = f"<{number}>"
        if what == "take":
            message = stand.take()
            if message is not None:
                taken.append(message)
        elif what == "output":
            stand.create(lane, "ai-output", data)
            written.append((lane, "output", data))
        elif what == "urgent":
            stand.create(lane, "ai-cancel", data)
            written.append((lane, "urgent", data))
        else:
            stand.text(lane, f"{lane}{what}", data)
            written.append((lane, what, data))
    taken += stand.take_all()
    stand.close()

    for lane in range(3):
        mine = [message for message in taken if message["channel"] == f"c{lane}"]
        for what in ("text a", "text b"):
            whole = "".join(one["data"] for one in mine if one.get("serial") == f"{lane}{what}")
            assert whole == "".join(data for of, kind, data in written if (of, kind) == (lane, what))
        for kind, name in (("output", "ai-output"), ("urgent", "ai-cancel")):
            order = [one["data"] for one in mine if one.get("name") == name]
            assert order == [data for of, what, data in written if (of, what) == (lane, kind)]
        # Text that was written after an output never leaves before it.
        place = {data: number for number, (of, _, data) in enumerate(written) if of == lane}
        seen = -1
        for one in mine:
            if one.get("name") == "ai-output":
                seen = place[one["data"]]
            elif "serial" in one:
                last = place["<" + one["data"].rsplit("<", 1)[1]]
                later_outputs = [
                    place[data]
                    for of, what, data in written
                    if of == lane and what == "output" and seen < place[data] < last
                ]
                assert not later_outputs
    assert not stand.outbox


def test_lifecycle_and_inputs_leave_before_text_that_waits() -> None:
    stand = Stand(2)
    stand.text(0, "s", "text")
    stand.create(0, "ai-output", "part")
    for name in ("ai-run-end", "ai-step-start", "ai-cancel", "ai-input"):
        stand.create(1, name, "")
    assert [one.get("name") for one in stand.take_all()] == [
        "ai-run-end",
        "ai-step-start",
        "ai-cancel",
        "ai-input",
        None,
        "ai-output",
    ]
    stand.close()


def test_the_first_text_of_a_message_leaves_before_later_text_of_others() -> None:
    stand = Stand(3, merges=False)
    for lane in (0, 1):
        stand.text(lane, f"s{lane}", "first")
    assert [one["data"] for one in stand.take_all()] == ["first", "first"]
    for lane in (0, 1):
        stand.text(lane, f"s{lane}", "later")
    stand.create(2, "ai-output", "")
    stand.text(2, "s2", "first")
    stand.text(2, "s2", "later")
    taken = stand.take_all()
    assert [(one["channel"], one["data"]) for one in taken] == [
        ("c2", ""),
        ("c2", "first"),
        ("c0", "later"),
        ("c1", "later"),
        ("c2", "later"),
    ]
    stand.close()


def test_sessions_take_turns() -> None:
    stand = Stand(3, merges=False)
    for number in range(3):
        for lane in range(3):
            for _ in range(lane + 1):
                stand.text(lane, f"s{lane}", str(number))
    turns = [one["channel"] for one in stand.take_all()]
    assert turns[:9] == ["c0", "c1", "c2"] * 3
    stand.close()


def test_text_that_waits_is_merged_and_each_caller_gets_the_ack() -> None:
    stand = Stand(1)
    first = stand.text(0, "s", "a")
    for data in "bcd":
        stand.text(0, "s", data)
    assert [one["data"] for one in stand.take_all()] == ["abcd"]

    class Result:
        def __init__(self) -> None:
            self.serials: list[str | None] = ["v"]

    async def answer() -> list[Any]:
        first.set_result(Result())
        return [await future for future in stand.futures]

    assert stand.loop.run_until_complete(answer()) == [["v"]] * 4
    stand.close()


def test_text_with_other_extras_or_beyond_the_limit_is_not_merged() -> None:
    stand = Stand(1)
    stand.text(0, "s", "a")
    stand.text(0, "s", "b", {"ai": {"transport": {"status": "complete"}}})
    stand.text(0, "s", "c" * LIMIT)
    assert [one["data"] for one in stand.take_all()] == ["a", "b", "c" * LIMIT]
    stand.close()


def test_a_publish_that_is_put_back_leaves_in_its_old_place() -> None:
    stand = Stand(1)
    first = stand.create(0, "ai-output", "1")
    second = stand.create(0, "ai-output", "2")
    stand.create(0, "ai-output", "3")
    assert stand.outbox.take(lambda _: True) is first
    assert stand.outbox.take(lambda _: True) is second
    stand.outbox.put_back([second, first])
    assert [one["data"] for one in stand.take_all()] == ["1", "2", "3"]
    stand.close()


def test_what_may_not_leave_holds_up_only_its_own_session() -> None:
    stand = Stand(2)
    stand.text(0, "s0", "a")
    stand.text(1, "s1", "b")
    assert stand.take(lambda one: one.target != "s0") == {
        "action": APPEND,
        "serial": "s1",
        "data": "b",
        "extras": EXTRAS,
        "channel": "c1",
    }
    assert stand.take(lambda one: one.target != "s0") is None
    assert [one["data"] for one in stand.take_all()] == ["a"]
    stand.close()
