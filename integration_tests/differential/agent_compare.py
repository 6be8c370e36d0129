"""Lists differences between two agent sessions, except the deliberate ones (``docs/differences.md``)."""

from collections.abc import Iterator, Sequence

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
    wrote_nothing = False
    for i, (step, here, there) in enumerate(zip(steps, ours, theirs, strict=True)):
        if _is_started_though_cancelled(step, here, there) or _is_refused_when_let_go(step, here, there):
            if here["frames"] or there["frames"]:
                return  # from here on there are two stories
            here |= {key: there[key] for key in ("error", "result")}
        if _is_cancelled_early(step, here, there) or _lost_its_run(step, here):
            return
        wrote_nothing = wrote_nothing or (there["result"] in ("cancelled", "error") and not there["frames"])
        if wrote_nothing:
            _drop_kept_stamps(here, there)
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
    answered = len(view)
    while answered and view[answered - 1]["message"]["role"] == "user":
        answered -= 1
    waiting = sorted(view[answered:], key=lambda entry: entry["codecMessageId"])
    return [*view[:answered], *waiting]


def _drop_kept_stamps(ours: Json, theirs: Json) -> None:
    """A pipe that wrote nothing has responded to nothing; the npm package counts it as a response."""
    for mine, other in zip(ours["frames"], theirs["frames"], strict=False):
        if names.STEER_CODEC_MESSAGE_IDS not in other["extras"]["ai"]["transport"]:
            mine["extras"]["ai"]["transport"].pop(names.STEER_CODEC_MESSAGE_IDS, None)


def _drop_owners(ours: Json, theirs: Json) -> None:
    """With two handles on one run, the npm package forgets the run's owner when one of them is released."""
    for mine, other in zip(ours["frames"], theirs["frames"], strict=False):
        if not other["extras"]["ai"]["transport"].get(names.RUN_CLIENT_ID):
            mine["extras"]["ai"]["transport"].pop(names.RUN_CLIENT_ID, None)
            other["extras"]["ai"]["transport"].pop(names.RUN_CLIENT_ID, None)
