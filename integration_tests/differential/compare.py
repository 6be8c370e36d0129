"""Tells two accounts of the same thing apart."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from ably_ai_transport.wire import names
from integration_tests.differential.script import Json, identity


def differences(ours: object, theirs: object, path: str = "") -> Iterator[str]:
    """Name the places at which two JSON values differ, and what stands there.

    Args:
        ours: One value.
        theirs: The other.
        path: Where they stand.

    Yields:
        A line a difference.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        mine, other = cast("Json", ours), cast("Json", theirs)
        for key in [*mine, *(key for key in other if key not in mine)]:
            if key not in mine:
                yield f"{path}.{key}: missing here, there {other[key]!r}"
            elif key not in other:
                yield f"{path}.{key}: missing there, here {mine[key]!r}"
            else:
                yield from differences(mine[key], other[key], f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        here, there = cast("list[Any]", ours), cast("list[Any]", theirs)
        if len(here) != len(there):
            yield f"{path}: {len(here)} here, {len(there)} there: {here!r} and {there!r}"
        else:
            for i, (one, other) in enumerate(zip(here, there, strict=True)):
                yield from differences(one, other, f"{path}[{i}]")
    elif ours != theirs or isinstance(ours, bool) != isinstance(theirs, bool):
        yield f"{path}: here {ours!r}, there {theirs!r}"


def unexplained(steps: Sequence[Json], ours: Sequence[Json], theirs: Sequence[Json]) -> Iterator[str]:
    """Name what two sides show differently, but for the differences that are meant.

    Args:
        steps: The steps of a script.
        ours: What our side showed after each.
        theirs: What the npm package showed.

    Yields:
        A line a difference of the first step after which there are any.
    """
    lagging = False
    regenerations = _Regenerations()
    for i, (step, here, there) in enumerate(zip(steps, ours, theirs, strict=True)):
        if lagging and step["op"] != "deliver":
            return  # what the client does next is about what it sees, which is not the same
        regenerations.note(step, theirs[i - 1] if i else None)
        _start_steps_once(here, there)
        stale = [
            regenerations.is_unnoticed(mine, other)
            for mine, other in zip(here["views"], there["views"], strict=True)
        ]
        explained = _explained(step, here, there, stale)
        if found := [f"step {i} ({step['op']}) {line}" for line in differences(explained, there)]:
            yield from found
            return
        lagging = any(stale) or any(map(_lags_behind, there["views"]))


def unexplained_at_the_end(ours: Sequence[Json], theirs: Sequence[Json]) -> Iterator[str]:
    """List differences between two sides after the last message, for any order of arrival.

    Args:
        ours: What our side showed after each of its steps.
        theirs: What the npm package showed after each of its own.

    Yields:
        A line a difference.
    """
    shown = ("views", "result")
    yield from differences({key: ours[-1][key] for key in shown}, {key: theirs[-1][key] for key in shown})


def _explained(step: Json, ours: Json, theirs: Json, stale: Sequence[bool]) -> Json:
    """Write our account as the npm package gives it where the two differ on purpose.

    Each case has a row of its own in ``docs/differences.md``.

    Args:
        step: The step.
        ours: What our side showed after it.
        theirs: What the npm package showed; changed in place, too.
        stale: For each view whether the npm package has not noticed that a run replaces a message.

    Returns:
        Our account, changed in place.
    """
    if step["op"] in ("loadOlder", "loadUntil") and _reveals_as_many_as_asked(step, ours, theirs):
        return theirs
    for frame, other in zip(ours["frames"], theirs["frames"], strict=False):
        _name_run_of_cancel(frame[0], other[0])
    for place, view in enumerate(theirs["views"]):
        mine = ours["views"][place]
        lags = stale[place] or (_lags_behind(view) and not _lags_behind(mine))
        if lags or _shows_through(mine, view):
            ours["views"][place] = view
    return ours


def _name_run_of_cancel(ours: Json, theirs: Json) -> None:
    """Our cancel names the run once it is known, besides the input."""
    if ours["name"] != names.CANCEL or theirs["name"] != names.CANCEL:
        return
    mine, other = ours["extras"]["ai"]["transport"], theirs["extras"]["ai"]["transport"]
    if names.INPUT_CODEC_MESSAGE_ID in mine and names.RUN_ID not in other:
        mine.pop(names.RUN_ID, None)


def _reveals_as_many_as_asked(step: Json, ours: Json, theirs: Json) -> bool:
    """The npm package counts messages that a regeneration hides, so it misses the limit."""
    mine, other = (shown["views"][step["view"]] for shown in (ours, theirs))
    fewer, more = sorted((mine["messages"], other["messages"]), key=len)
    if more[len(more) - len(fewer) :] != fewer:
        return False
    is_exact = step["op"] == "loadUntil" or len(ours["result"]) == step["limit"] or not mine["hasOlder"]
    return is_exact and (ours["result"], mine["runs"]) != (theirs["result"], other["runs"])


def _lags_behind(view: Json) -> bool:
    """The npm package still shows a message that it has deselected, or whose run is superseded."""
    on_branch = {run["runId"] for run in view["runs"]}
    before: str | None = None
    for entry, branch, run_id in zip(view["messages"], view["branches"], view["runOf"], strict=True):
        if branch["selected"] != identity(entry["message"]):
            return True
        stands_in = run_id is not None and run_id not in on_branch
        if stands_in and run_id != before and not branch["hasSiblings"]:
            return True
        before = run_id
    return False


def _shows_through(ours: Json, theirs: Json) -> bool:
    """The npm package misses news of a run that stands in for a message, but is not on the branch."""
    on_branch = {run["runId"] for run in ours["runs"]}
    mine = {entry["codecMessageId"]: entry for entry in ours["messages"]}
    other = {entry["codecMessageId"]: entry for entry in theirs["messages"]}
    run_of = dict(zip(mine, ours["runOf"], strict=True))
    news = [message_id for message_id, entry in mine.items() if other.get(message_id) != entry]
    return bool(news) and other.keys() <= mine.keys() and all(run_of[m] not in on_branch for m in news)


class _Regenerations:
    """Runs that replace a message in the middle of a reply, as the channel delivers them."""

    def __init__(self) -> None:
        self._runs: dict[str, dict[str, str]] = {}
        self._left_out: set[str] = set()
        self._written: set[str] = set()
        self._selected: set[str] = set()

    def note(self, step: Json, before: Json | None) -> None:
        """Note what a step does to regenerations: a run starts, writes, is superseded, or the user selects.

        Args:
            step: The step.
            before: What there was to see before it.
        """
        if step["op"] == "deliver":
            self._note_message(step["message"])
        elif step["op"] in ("select", "regenerate") and before is not None:
            view = before["views"][step["view"]]
            for entry, branch in zip(view["messages"], view["branches"], strict=True):
                if entry["codecMessageId"] == step["messageId"]:
                    group = set(map(str, branch["siblings"]))
                    # A regeneration moves on to the newest alternative.
                    self._selected = (
                        self._selected | group if step["op"] == "select" else self._selected - group
                    )

    def is_unnoticed(self, ours: Json, theirs: Json) -> bool:
        """Tell whether the npm package still shows a message in place of a run that has no messages yet.

        Args:
            ours: Our view: without that message, and without those after it in its run.
            theirs: The view of the npm package, which is otherwise the same.
        """
        shown = {entry["codecMessageId"] for entry in ours["messages"]}
        ids = [entry["codecMessageId"] for entry in theirs["messages"]]
        first = next((i for i, message_id in enumerate(ids) if message_id not in shown), None)
        if first is None:
            return False
        group = list(map(str, theirs["branches"][first]["siblings"]))
        runs = self._runs.get(group[0], {})
        newest = max(
            (run for run in runs if run not in self._left_out), key=lambda run: runs[run], default=None
        )
        if newest is None or newest in self._written or self._selected.intersection(group):
            return False
        end = first
        while end < len(ids) and theirs["runOf"][end] == theirs["runOf"][first]:
            end += 1
        rest = {key: [*theirs[key][:first], *theirs[key][end:]] for key in ("messages", "branches", "runOf")}
        return {**theirs, **rest} == ours

    def _note_message(self, message: Json) -> None:
        headers: dict[str, str] = message["extras"]["ai"]["transport"]
        if message["name"] == names.RUN_START and names.MSG_REGENERATE in headers:
            runs = self._runs.setdefault(headers[names.MSG_REGENERATE], {})
            runs.setdefault(headers[names.RUN_ID], message["serial"])
        elif message["name"] in (names.AI_INPUT, names.AI_OUTPUT) and names.RUN_ID in headers:
            self._written.add(headers[names.RUN_ID])
        if names.SUPERSEDES in headers:
            self._left_out.add(headers[names.SUPERSEDES])


def _start_steps_once(ours: Json, theirs: Json) -> None:
    """The npm package may show the start of a step twice to a client that joins during the step."""
    start: Json = {"type": "step-start"}
    for mine, other in zip(ours["views"], theirs["views"], strict=True):
        shown = {entry["codecMessageId"]: entry["message"] for entry in mine["messages"]}
        for there in other["messages"]:
            parts: list[Json] = there["message"].get("parts", [])
            once = [part for i, part in enumerate(parts) if part != start or parts[i - 1 : i] != [start]]
            if once == shown.get(there["codecMessageId"], {}).get("parts"):
                there["message"]["parts"] = once
