"""A node process that is driven line by line (``js/lib/peer.mjs``)."""

import json
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

import anyio
from anyio.abc import ByteReceiveStream, Process

from integration_tests import node

JsonValue: TypeAlias = Any
"""An answer of the other side, untyped: the test knows its shape."""
Json: TypeAlias = dict[str, JsonValue]

RETRY_MS = 50
"""Milliseconds after which a client whose connection was refused tries again."""
TIMEOUT = 20.0
"""Seconds after which an answer or event is overdue: far beyond what any takes, short enough to wait for."""


class JsError(Exception):
    """An operation failed on the JavaScript side."""

    def __init__(self, error: Json) -> None:
        super().__init__(f"{error['name']}: {error['message']} (code {error['code']})")
        self.message = cast("str", error["message"])
        self.code = cast("int | None", error["code"])
        self.status_code = cast("int | None", error["statusCode"])


class JsProcessError(Exception):
    """The process died, or an error went unhandled in it."""


class Request:
    """A command that is under way."""

    def __init__(self, process: "JsProcess", command: Json) -> None:
        self._process = process
        self._command = command
        self._done = anyio.Event()
        self._answer: Json = {}

    def settle(self, answer: Json) -> None:
        """Take the answer in."""
        self._answer = answer
        self._done.set()

    async def result(self, within: float = TIMEOUT) -> JsonValue:
        """Wait for the answer.

        Raises:
            JsError: The operation failed.
            JsProcessError: The process died first.
            TimeoutError: No answer came.
        """
        await self._process.until(self._done, f"no answer to {self._command}", within)
        if "error" in self._answer:
            raise JsError(self._answer["error"])
        if "result" not in self._answer:
            raise JsProcessError(self._process.describe(f"died before it answered {self._command}"))
        return self._answer["result"]


async def _lines(stream: ByteReceiveStream) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for chunk in stream:
        rest += chunk
        if b"\n" not in chunk:
            continue
        *whole, last = bytes(rest).split(b"\n")
        for line in whole:
            yield line
        rest = bytearray(last)
    if rest:
        yield bytes(rest)


class JsProcess:
    """A driver script under node, for as long as the ``async with`` lasts.

    Attributes:
        label: Who this is, in messages.
        unhandled: Rejections and exceptions that nothing handled. The ``async with`` fails when there are
            any, but for a process that may have them.
    """

    def __init__(self, script: str, *arguments: str, label: str, may_have_unhandled: bool = False) -> None:
        self.label = label
        self.unhandled: list[Json] = []
        self._script = node.SCRIPTS / script
        self._arguments = arguments
        self._may_have_unhandled = may_have_unhandled
        self._process: Process
        self._tasks = anyio.create_task_group()
        self._requests: dict[int, Request] = {}
        self._events: list[Json] = []
        self._news = anyio.Event()
        self._ended = False
        self._stderr: deque[str] = deque(maxlen=200)
        self._writing = anyio.Lock()
        self._next_id = 1

    async def __aenter__(self) -> Self:
        self._process = await anyio.open_process(
            [node.find_node(), str(self._script), *self._arguments], cwd=node.HERE
        )
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._read_stdout)
        self._tasks.start_soon(self._read_stderr)
        try:
            await self.event("ready")
        except BaseException:
            await self._stop(patience=0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._stop(patience=0 if error else 5)
        if error is not None:
            error.add_note(self.describe("as it was then"))
        elif self.unhandled and not self._may_have_unhandled:
            raise JsProcessError(self.describe(f"left errors unhandled: {self.unhandled}"))

    async def _stop(self, patience: float) -> None:
        with anyio.CancelScope(shield=True):
            assert self._process.stdin is not None
            await self._process.stdin.aclose()
            with anyio.move_on_after(patience):
                await self._process.wait()
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
        # What it said last is worth having, and the pipes end with the process.
        await self._tasks.__aexit__(None, None, None)
        with anyio.CancelScope(shield=True):
            await self._process.aclose()

    async def kill(self) -> None:
        """Kill the process, as an operator or the kernel would."""
        self._process.kill()
        await self._process.wait()

    async def _read_stdout(self) -> None:
        assert self._process.stdout is not None
        async for line in _lines(self._process.stdout):
            try:
                said = cast("Json", json.loads(line))
            except ValueError:
                self._stderr.append(f"(not a line of the protocol) {line!r}")
                continue
            if "event" not in said:
                self._requests.pop(said["id"]).settle(said)
                continue
            if said["event"] == "unhandled":
                self.unhandled.append(said)
            self._events.append(said)
            self._wake()
        self._ended = True
        self._wake()
        for request in self._requests.values():
            request.settle({})

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        async for line in _lines(self._process.stderr):
            self._stderr.append(line.decode("utf-8", "replace"))

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def describe(self, what: str) -> str:
        """Say what happened to this process, with what it said last."""
        said = "\n".join([*map(str, self._events[-20:]), "stderr:", *self._stderr])
        return f"{self.label} ({self._script.name}) {what}; it said last:\n{said}"

    async def until(self, event: anyio.Event, what: str, within: float = TIMEOUT) -> None:
        """Wait for something that this process brings about.

        Raises:
            TimeoutError: It did not happen.
        """
        with anyio.move_on_after(within) as scope:
            await event.wait()
        if scope.cancelled_caught:
            raise TimeoutError(self.describe(f"{what} within {within:g} s"))

    async def start(self, operation: str, **arguments: object) -> Request:
        """Send a command; its answer comes later. Arguments that are None are left out."""
        given = {key: value for key, value in arguments.items() if value is not None}
        number = self._next_id
        self._next_id += 1
        command = {"id": number, "op": operation, **given}
        shown = {key: value if len(str(value)) < 200 else "…" for key, value in command.items()}
        request = Request(self, shown)
        if self._ended:
            request.settle({})
            return request
        self._requests[number] = request
        assert self._process.stdin is not None
        line = json.dumps(command, ensure_ascii=False).encode() + b"\n"
        try:
            async with self._writing:
                await self._process.stdin.send(line)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise JsProcessError(self.describe("takes no commands any more")) from error
        return request

    async def call(self, operation: str, **arguments: object) -> JsonValue:
        """Send a command and wait for its answer.

        Raises:
            JsError: The operation failed.
        """
        return await (await self.start(operation, **arguments)).result()

    async def event(self, event: str, within: float = TIMEOUT, **details: object) -> Json:
        """Wait for an event with these details, or take the oldest one that nobody has taken yet.

        Raises:
            TimeoutError: It did not happen.
            JsProcessError: The process died first.
        """
        wanted = {"event": event, **details}
        deadline = anyio.current_time() + within
        while True:
            for index, said in enumerate(self._events):
                if all(said.get(key) == value for key, value in wanted.items()):
                    return self._events.pop(index)
            if self._ended:
                raise JsProcessError(self.describe(f"died before {wanted}"))
            await self.until(self._news, f"no {wanted}", deadline - anyio.current_time())

    def seen(self, event: str, **details: object) -> list[Json]:
        """Return the events with these details that nobody has taken yet."""
        wanted = {"event": event, **details}
        return [said for said in self._events if all(said.get(k) == v for k, v in wanted.items())]
