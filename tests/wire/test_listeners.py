import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ably_ai_transport.wire import InvalidArgumentError
from ably_ai_transport.wire.listeners import Listeners


class Tasks:
    """Owns what it runs, as a session does."""

    def __init__(self) -> None:
        self.running: list[asyncio.Task[None]] = []

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.running.append(asyncio.get_running_loop().create_task(coroutine))

    async def finish(self) -> None:
        await asyncio.gather(*self.running)


def test_listeners_are_called_in_the_order_in_which_they_were_added() -> None:
    heard: list[str] = []
    listeners = Listeners[str]()
    listeners.add(lambda event: heard.append(f"first {event}"))
    listeners.add(lambda event: heard.append(f"second {event}"))
    listeners.emit("hello")
    assert heard == ["first hello", "second hello"]


def test_a_function_added_twice_is_called_twice_and_removed_once_at_a_time() -> None:
    heard: list[str] = []
    listeners = Listeners[str]()
    remove = listeners.add(heard.append)
    listeners.add(heard.append)
    listeners.emit("both")
    remove()
    remove()
    listeners.emit("one")
    assert heard == ["both", "both", "one"]


def test_a_set_is_true_while_somebody_listens() -> None:
    listeners = Listeners[str]()
    assert not listeners
    remove = listeners.add(print)
    assert listeners
    remove()
    assert not listeners
    listeners.add(print)
    listeners.clear()
    assert not listeners


def test_a_listener_that_is_added_or_removed_during_an_event_counts_from_the_next_one() -> None:
    heard: list[str] = []
    listeners = Listeners[str]()

    def first(event: str) -> None:
        heard.append(f"first {event}")
        remove()
        listeners.add(lambda event: heard.append(f"late {event}"))

    remove = listeners.add(first)
    listeners.emit("one")
    assert heard == ["first one"]
    listeners.emit("two")
    assert heard == ["first one", "late two"]


def test_what_a_listener_raises_is_logged_reported_and_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[str] = []
    reported: list[Exception] = []
    listeners = Listeners[str](reported.append, logger=logging.getLogger("ably_ai_transport.test"))
    problem = ValueError("broken")

    def fails(event: str) -> None:
        raise problem

    listeners.add(fails)
    listeners.add(heard.append)
    listeners.emit("hello")
    assert heard == ["hello"]
    assert reported == [problem]
    (record,) = caplog.records
    assert record.name == "ably_ai_transport.test"
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is problem


async def test_a_coroutine_function_runs_in_the_owners_tasks() -> None:
    tasks, heard = Tasks(), list[str]()
    listeners = Listeners[str](spawn=tasks.spawn)

    async def listen(event: str) -> None:
        await asyncio.sleep(0)
        heard.append(event)

    listeners.add(listen)
    listeners.emit("one")
    listeners.emit("two")
    assert heard == []
    await tasks.finish()
    assert heard == ["one", "two"]


async def test_what_a_coroutine_raises_is_logged_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    tasks, reported = Tasks(), list[Exception]()
    listeners = Listeners[str](reported.append, spawn=tasks.spawn)
    problem = ValueError("broken")

    async def fails(event: str) -> None:
        raise problem

    listeners.add(fails)
    listeners.emit("hello")
    await tasks.finish()
    assert reported == [problem]
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is problem


class AsyncCallable:
    async def __call__(self, event: str) -> None: ...


async def _listen(prefix: str, event: str) -> None: ...


@pytest.mark.parametrize("listener", [functools.partial(_listen, "x"), AsyncCallable()])
def test_without_an_owner_of_tasks_a_coroutine_function_is_refused(
    listener: Callable[[str], object],
) -> None:
    listeners = Listeners[str]()
    with pytest.raises(InvalidArgumentError, match="coroutine function"):
        listeners.add(listener)
    assert not listeners


def test_a_plain_function_that_returns_a_coroutine_is_reported_where_nothing_can_run_it() -> None:
    reported: list[Exception] = []
    listeners = Listeners[str](reported.append)
    listeners.add(lambda event: _listen("x", event))
    listeners.emit("hello")
    (error,) = reported
    assert isinstance(error, InvalidArgumentError)


def test_a_coroutine_that_its_owner_no_longer_takes_is_closed_and_reported() -> None:
    reported: list[Exception] = []

    def spawn(coroutine: Coroutine[Any, Any, None]) -> None:
        raise RuntimeError

    listeners = Listeners[str](reported.append, spawn=spawn)
    listeners.add(functools.partial(_listen, "x"))
    listeners.emit("hello")
    assert [type(error) for error in reported] == [RuntimeError]


def test_what_is_not_callable_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="not callable"):
        Listeners[str]().add("listener")  # pyright: ignore[reportArgumentType]
