"""The harness itself: what goes wrong in a node process is seen here, and in time."""

import pytest

from integration_tests import streams
from integration_tests.js_process import JsError, JsProcess, JsProcessError


def selftest(*, may_have_unhandled: bool = False) -> JsProcess:
    return JsProcess("selftest.mjs", label="selftest", may_have_unhandled=may_have_unhandled)


async def test_values_survive_the_way_there_and_back() -> None:
    value = {"text": "".join(streams.PHRASES) * 1000, "numbers": [1, 2.5, None, True]}

    async with selftest() as process:
        assert await process.call("echo", value=value) == value


async def test_answers_overtake_each_other() -> None:
    async with selftest() as process:
        slow = await process.start("never")
        assert await process.call("echo", value=1) == 1
        with pytest.raises(TimeoutError, match=r"no answer to .*'op': 'never'"):
            await slow.result(within=0.05)


async def test_a_failed_operation_raises_with_its_code() -> None:
    async with selftest() as process:
        with pytest.raises(JsError, match="boom") as caught:
            await process.call("fail", message="boom", code=40003)

    assert caught.value.code == 40003


async def test_events_are_taken_once_each() -> None:
    async with selftest() as process:
        await process.call("tell", event="step", number=1)
        await process.call("tell", event="step", number=2)

        assert (await process.event("step", number=2))["number"] == 2
        assert (await process.event("step"))["number"] == 1
        with pytest.raises(TimeoutError, match=r"no {'event': 'step'}"):
            await process.event("step", within=0.05)


async def test_an_unhandled_rejection_fails_the_test() -> None:
    with pytest.raises(JsProcessError, match=r"left errors unhandled.*oops"):
        async with selftest() as process:
            await process.call("forget", message="oops")


async def test_an_unhandled_rejection_can_be_expected() -> None:
    async with selftest(may_have_unhandled=True) as process:
        await process.call("forget", message="oops")
        await process.event("unhandled")

    assert [said["error"]["message"] for said in process.unhandled] == ["oops"]


async def test_a_death_is_told_with_the_last_words() -> None:
    async with selftest() as process:
        await process.call("complain", text="my last words")
        with pytest.raises(JsProcessError, match=r"died before it answered .*(?s:.*)my last words"):
            await process.call("die", status=3)


async def test_a_failing_test_shows_what_the_process_said() -> None:
    async def fail() -> None:
        async with selftest() as process:
            await process.call("complain", text="a clue")
            raise AssertionError

    with pytest.raises(AssertionError) as caught:
        await fail()

    assert "a clue" in "".join(caught.value.__notes__)


def test_the_made_up_stream_is_long_and_always_the_same() -> None:
    pieces = streams.long_deltas()

    assert len(pieces) >= 200
    assert pieces == streams.long_deltas()
    assert all(phrase in "".join(pieces) for phrase in streams.PHRASES)


def test_long_streams_have_two_hundred_deltas() -> None:
    script = streams.long_stream()

    assert sum(chunk["type"] == "text-delta" for chunk in script) >= 200
    assert streams.text_of(script)
