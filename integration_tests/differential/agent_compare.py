"""Lists differences between two agent sessions, except the deliberate ones (``docs/differences.md``)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ably_ai_transport.wire import ErrorCode, names
from integration_tests.differential.compare import differences
from integration_tests.differential.script import Json


def unexplained(
    steps: Sequence[Json], ours: Sequence[Json], theirs: Sequence[Json]
) -> Iterator[tuple[int, list[str]]]:
    """Name what two sides did differently.

    Args:
        steps: The steps of a script.
        ours: What our side published and showed after each.
        theirs: What the npm package did.

    Yields:
        The first step after which there are differences, and a line each.
    """
    steering = _Steering()
    for i, (step, here, there) in enumerate(zip(steps, ours, theirs, strict=True)):
        if _is_started_though_cancelled(step, here, there) or _is_refused_when_let_go(step, here, there):
            if here["frames"] or there["frames"]:
                return  # from here on there are two stories
            here |= {key: there[key] for key in ("error", "result")}
        if _is_cancelled_early(step, here, there) or _lost_its_run(step, here):
            return
        steering.follow(step, here, there)
        run_ids = [run["runId"] for run in there["runs"]]
        if len(set(run_ids)) < len(run_ids):
            if _is_cancelled_on_each_handle(step, here, there):
                return
            _drop_owners(here, there)
        for shown in (here, there):
            for run in shown["runs"]:
                run["view"] = _unanswered_in_order(run["view"])
        if found := list(differences(here, there)):
            yield i, found
            return


def _is_started_though_cancelled(step: Json, ours: Json, theirs: Json) -> bool:
    """A run that a client has cancelled starts here, and ends cancelled; the npm package refuses it."""
    refused = theirs["error"] == {"code": 40033, "statusCode": 400}
    return step["op"] == "start" and ours["error"] is None and refused


def _is_cancelled_early(step: Json, ours: Json, theirs: Json) -> bool:
    """A cancel that came before there was a run to cancel is honoured here when the run starts."""
    return step["op"] == "start" and any(
        here["aborted"] and not there["aborted"]
        for here, there in zip(ours["runs"], theirs["runs"], strict=True)
    )


def _is_cancelled_on_each_handle(step: Json, ours: Json, theirs: Json) -> bool:
    """A cancel reaches each handle on a run here, and only the newest one in the npm package."""
    return step["op"] == "deliver" and any(
        here["aborted"] and not there["aborted"]
        for here, there in zip(ours["runs"], theirs["runs"], strict=True)
    )


def _lost_its_run(step: Json, ours: Json) -> bool:
    """A handle whose run another one has ended or taken over stops here; the npm package goes on with it.

    A handle that was cancelled before loses its run without a report.
    """
    if ours["error"] is not None and ours["error"]["code"] == ErrorCode.RUN_LOST:
        return True
    if any(str(int(ErrorCode.RUN_LOST)) in heard for heard in ours["heard"]):
        return True
    if step["op"] not in ("start", "end"):
        return False
    runs = ours["runs"]
    return any(
        run["aborted"] and run["runId"] == runs[step["run"]]["runId"]
        for i, run in enumerate(runs)
        if i != step["run"]
    )


def _is_refused_when_let_go(step: Json, ours: Json, theirs: Json) -> bool:
    """A run that was suspended takes nothing here until it is resumed; the npm package goes on writing."""
    refused = ours["error"] == {"code": 40003, "statusCode": 400}
    return refused and theirs["error"] is None and step["op"] in ("pipe", "startStep", "pipeStep", "sendStep")


def _unanswered_in_order(view: list[Json]) -> list[Json]:
    """The npm package shows a steering message that has just come before those that wait already."""
    answered = len(view) - len(_waiting(view))
    return [*view[:answered], *sorted(view[answered:], key=lambda entry: entry["codecMessageId"])]


def _waiting(view: list[Json]) -> list[Json]:
    """List the messages of people at the end of a view: nothing has responded to them."""
    answered = len(view)
    while answered and view[answered - 1]["message"]["role"] == "user":
        answered -= 1
    return view[answered:]


@dataclass
class _Handle:
    """The steering messages of one handle on a run.

    Attributes:
        trigger: The input event that it responds to first.
        heard: Messages that were sent into runs since the handle was created and that it has not taken in,
            by run.
        taken: Messages that it has taken in and that no output has responded to.
        kept: Messages that were taken in before a pipe that wrote nothing: it has responded to nothing here,
            and to them in the npm package.
        early: Messages that came before the run was opened: they wait from then on, which views of the npm
            package show after another change.
        opened: Whether the run has been started through the handle.
    """

    trigger: str
    heard: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    taken: set[str] = field(default_factory=set[str])
    kept: set[str] = field(default_factory=set[str])
    early: set[str] = field(default_factory=set[str])
    opened: bool = False


class _Steering:
    """Follows the steering messages that wait for a response here, and not in the npm package."""

    def __init__(self) -> None:
        self._handles: list[_Handle] = []
        self._run_of_step: list[int] = []

    def follow(self, step: Json, ours: Json, theirs: Json) -> None:
        """Follow a step, and write both accounts the same where they differ on purpose.

        Args:
            step: The step.
            ours: What our side did; stamps that name kept messages are changed in place.
            theirs: What the npm package did; the places of such messages in views are changed in place.
        """
        op: str = step["op"]
        match op:
            case "create":
                self._handles.append(_Handle(step["inputEventId"]))
            case "createStep":
                self._run_of_step.append(step["run"])
            case "deliver":
                self._hear(step["message"]["extras"]["ai"]["transport"])
            case "start" if theirs["error"] is None:
                handle, run_id = self._handles[int(step["run"])], str(theirs["runs"][step["run"]]["runId"])
                if not handle.opened:
                    handle.opened, handle.early = True, set(handle.heard.get(run_id, ()))
            case "hasInput" if theirs["result"]:
                handle, run_id = self._handles[int(step["run"])], str(theirs["runs"][step["run"]]["runId"])
                handle.taken |= handle.heard.pop(run_id, set())
            case "pipe" | "pipeStep" | "sendStep" if theirs["error"] is None:
                place = int(step["run"]) if op == "pipe" else self._run_of_step[int(step["step"])]
                self._respond(self._handles[place], ours, theirs)
            case _:
                pass
        for handle, mine, other in zip(self._handles, ours["runs"], theirs["runs"], strict=True):
            waiting = {entry["codecMessageId"] for entry in _waiting(mine["view"])}
            waiting &= handle.kept | handle.early
            view: list[Json] = other["view"]
            view.sort(key=lambda entry: entry["codecMessageId"] in waiting)

    def _hear(self, headers: Json) -> None:
        if {names.RUN_ID, names.CODEC_MESSAGE_ID, names.EVENT_ID} <= headers.keys():
            for handle in self._handles:
                if headers[names.EVENT_ID] != handle.trigger:
                    heard = handle.heard.setdefault(headers[names.RUN_ID], set())
                    heard.add(headers[names.CODEC_MESSAGE_ID])

    @staticmethod
    def _respond(handle: _Handle, ours: Json, theirs: Json) -> None:
        """Take a pipe that wrote nothing for a response in one account, and not in the other."""
        if theirs["frames"]:
            handle.early.clear()
        else:
            handle.kept |= handle.taken
        answered: set[str] = set()
        for mine, other in zip(ours["frames"], theirs["frames"], strict=False):
            here, there = mine["extras"]["ai"]["transport"], other["extras"]["ai"]["transport"]
            stamp = _read_stamp(here)
            answered.update(stamp)
            if [name for name in stamp if name not in handle.kept] == _read_stamp(there):
                here.pop(names.STEER_CODEC_MESSAGE_IDS, None)
                there.pop(names.STEER_CODEC_MESSAGE_IDS, None)
        handle.kept -= answered
        handle.taken.clear()


def _read_stamp(headers: Json) -> list[str]:
    return json.loads(headers.get(names.STEER_CODEC_MESSAGE_IDS, "[]"))


def _drop_owners(ours: Json, theirs: Json) -> None:
    """With two handles on one run, the npm package forgets the run's owner when one of them is released."""
    for mine, other in zip(ours["frames"], theirs["frames"], strict=False):
        if not other["extras"]["ai"]["transport"].get(names.RUN_CLIENT_ID):
            mine["extras"]["ai"]["transport"].pop(names.RUN_CLIENT_ID, None)
            other["extras"]["ai"]["transport"].pop(names.RUN_CLIENT_ID, None)
