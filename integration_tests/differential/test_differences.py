"""Tests of the deliberate differences between the two packages that ``docs/differences.md`` lists."""

import asyncio
import copy
from dataclasses import replace

import pytest

from integration_tests.differential.agent_compare import unexplained as unexplained_of_agents
from integration_tests.differential.agents import AgentPlayer
from integration_tests.differential.compare import unexplained
from integration_tests.differential.ours import Player
from integration_tests.differential.script import Json, Script, message_to_json
from integration_tests.differential.theirs import Theirs
from tests.conversation.talk import Call, Run, Talk


@pytest.fixture
def talk() -> Talk:
    return Talk()


def live_through(theirs: Theirs, script: Script) -> tuple[Json, Json]:
    """Return what either side shows in the end."""

    async def here() -> list[Json]:
        async with Player.of(script) as player:
            return [await player.take(step) for step in script.steps]

    [there] = theirs.play([script])
    return asyncio.run(here())[-1], there[-1]


def deliveries(talk: Talk, start: int = 0) -> list[Json]:
    return [{"op": "deliver", "message": message_to_json(message)} for message in talk.live[start:]]


def statuses(shown: Json, view: int = 0) -> list[str]:
    return [run["status"] for run in shown["views"][view]["runs"]]


def ids(shown: Json, view: int = 0) -> list[str]:
    return [entry["codecMessageId"] for entry in shown["views"][view]["messages"]]


def words(shown: Json) -> list[list[str]]:
    """The texts in each message."""
    messages = [entry["message"]["parts"] for entry in shown["views"][0]["messages"]]
    return [[part["text"] for part in parts if part["type"] == "text"] for parts in messages]


def test_a_message_of_several_parts_in_a_run_whose_step_is_tried_again(theirs: Theirs, talk: Talk) -> None:
    run = talk.start(talk.say("hi"), "m1")
    talk.reply(talk.step(run, "s1"), "one")
    talk.say("and", into=run, parts=3)
    talk.reply(talk.step(run, "s1"), "two")
    talk.end(run)
    ours, other = live_through(theirs, Script(steps=deliveries(talk)))
    assert words(ours) == [["hi"], ["and", " 1", " 2"], ["two"]]
    assert words(other) == [["hi"], ["and", " 1", " 2", " 1", " 2"], ["two"]]


def test_a_stream_whose_first_message_has_text(theirs: Theirs, talk: Talk) -> None:
    run = talk.start(talk.say("hi"), "m1")
    serial = talk.stream(talk.step(run), "a1")
    talk.live[-1] = replace(talk.live[-1], data="Hello ")
    talk.append(serial, "you")
    ours, other = live_through(theirs, Script(steps=deliveries(talk)))
    assert words(ours) == [["hi"], ["Hello you"]]
    assert words(other) == [["hi"], ["you"]]


def test_a_run_ends_once(theirs: Theirs, talk: Talk) -> None:
    run = talk.answer(talk.say("hi"), "m1", "hello")
    talk.suspend(run)
    ours, other = live_through(theirs, Script(steps=deliveries(talk)))
    assert statuses(ours) == ["complete"]
    assert statuses(other) == ["suspended"]


def test_an_end_that_is_read_before_its_start(theirs: Theirs, talk: Talk) -> None:
    talk.answer(talk.say("hi"), "m1", "hello")
    load: Json = {"op": "loadOlder", "view": 0, "limit": 1000}
    ours, other = live_through(theirs, Script(talk.history[::-1], page_size=1, steps=[load]))
    assert statuses(ours) == ["complete"]
    assert statuses(other) == ["active"]


def test_the_owner_of_a_run_is_read_from_its_start(theirs: Theirs, talk: Talk) -> None:
    run = talk.start(talk.say("hi"), "m1")
    talk.step(run)
    said, start, step = deliveries(talk)
    ours, other = live_through(theirs, Script(steps=[said, step, start]))
    assert [run["clientId"] for run in ours["views"][0]["runs"]] == ["alice"]
    assert [run["clientId"] for run in other["views"][0]["runs"]] == [""]


def test_a_view_reveals_what_it_was_asked_to_reveal(theirs: Theirs, talk: Talk) -> None:
    for _ in range(4):
        talk.say("hi", talk.live[-1].transport_headers["codec-message-id"] if talk.live else None)
    steps: list[Json] = [{"op": "newView"}, {"op": "loadOlder", "view": 0, "limit": 2}]
    ours, other = live_through(theirs, Script(talk.history[::-1], steps=steps))
    assert (ids(ours), ids(ours, 1)) == (["m3", "m4"], [])
    assert (ids(other), ids(other, 1)) == (["m3", "m4"], ["m1", "m2", "m3", "m4"])


def test_the_oldest_message_of_the_window_can_be_regenerated(theirs: Theirs, talk: Talk) -> None:
    run = talk.answer(talk.say("hi"), "m1", "hello")
    steps: list[Json] = [
        {"op": "loadOlder", "view": 0, "limit": 1},
        {"op": "regenerate", "view": 0, "messageId": run.messages[0]},
    ]
    ours, other = live_through(theirs, Script(talk.history[::-1], steps=steps))
    assert ours["error"] is None
    assert ours["frames"][0][0]["extras"]["ai"]["transport"]["parent"] == "m1"
    assert other["error"] == {"code": 40003, "statusCode": 400}


def test_a_selection_is_shown_at_once(theirs: Theirs, talk: Talk) -> None:
    run = talk.start(talk.say("hi"), "m1")
    step = talk.step(run)
    first, second = talk.reply(step, "one"), talk.reply(step, "two")
    again = talk.start(talk.ask_again(second, first), first, follows=first, regenerates=second)
    third = talk.reply(talk.step(again), "three")
    steps: list[Json] = [
        *deliveries(talk),
        {"op": "select", "view": 0, "messageId": third, "index": 0},
        {"op": "regenerate", "view": 0, "messageId": second},
    ]
    ours, other = live_through(theirs, Script(steps=steps))
    assert ids(ours) == ["m1", first, third]
    assert ids(other) == ["m1", first, second]
    assert other["views"][0]["branches"][2]["index"] == 1


def test_a_regeneration_hides_its_target_at_once(theirs: Theirs, talk: Talk) -> None:
    run = talk.start(talk.say("hi"), "m1")
    step = talk.step(run)
    first, second = talk.reply(step, "one"), talk.reply(step, "two")
    suspended = talk.start(talk.ask_again(second, first), first, follows=first, regenerates=second)
    talk.suspend(suspended)
    talk.start(talk.ask_again(second, first), first, follows=first, regenerates=second)
    fork = talk.fork("three", suspended)
    talk.start(fork, first)
    *before, regeneration, forked, fork_start = deliveries(talk)
    load: Json = {"op": "loadOlder", "view": 0, "limit": 1000}
    steps = [*before, forked, fork_start, regeneration]
    ours, other = live_through(theirs, Script(steps=steps))
    assert ids(ours) == ["m1", first, fork]
    assert ids(other) == ["m1", first, second, fork]
    for script in (
        Script(steps=[*before, regeneration, forked, fork_start]),
        Script(steps=[*steps, load]),
        Script(talk.history[::-1], steps=[load]),
    ):
        ours, other = live_through(theirs, script)
        assert ids(ours) == ids(other) == ["m1", first, fork]


def test_a_selection_is_left_at_once_for_a_regeneration_without_messages(theirs: Theirs, talk: Talk) -> None:
    run = talk.start(talk.say("hi"), "m1")
    step = talk.step(run)
    first, second = talk.reply(step, "one"), talk.reply(step, "two")
    again = talk.start(talk.ask_again(second, first), first, follows=first, regenerates=second)
    third = talk.reply(talk.step(again), "three")
    before = deliveries(talk)
    talk.start(talk.ask_again(second, first), first, follows=first, regenerates=second)
    steps: list[Json] = [
        *before,
        {"op": "select", "view": 0, "messageId": third, "index": 0},
        *deliveries(talk, len(before)),
        {"op": "regenerate", "view": 0, "messageId": second},
    ]
    ours, other = live_through(theirs, Script(steps=steps))
    assert ids(ours) == ["m1", first]
    assert ids(other) == ["m1", first, second]
    ours, other = live_through(theirs, Script(steps=[*steps, {"op": "loadOlder", "view": 0, "limit": 1000}]))
    assert ids(ours) == ids(other) == ["m1", first]


def test_only_a_regeneration_without_messages_explains_that_one_is_missing(
    theirs: Theirs, talk: Talk
) -> None:
    run = talk.start(talk.say("hi"), "m1")
    step = talk.step(run)
    first, second = talk.reply(step, "one"), talk.reply(step, "two")
    steps = deliveries(talk)
    [shown] = theirs.play([Script(steps=steps)])
    trigger = talk.ask_again(second, first)
    again = talk.start(trigger, first, follows=first, regenerates=second)
    asked, start = deliveries(talk, len(steps))
    talk.reply(talk.step(again), "three")
    written = deliveries(talk, len(steps) + 2)

    def explains(later: list[Json], missing: str) -> bool:
        """Tell whether it is explained that our side lacks a message that the npm package shows."""
        theirs_last = shown[-1]
        ours_last = copy.deepcopy(theirs_last)
        view = ours_last["views"][0]
        place = ids(ours_last).index(missing)
        for key in ("messages", "branches", "runOf"):
            del view[key][place]
        same = [theirs_last] * (len(later) - 1)
        accounts = copy.deepcopy([[*same, ours_last], [*same, theirs_last]])
        return list(unexplained(later, *accounts)) == []

    assert explains([asked, start], second)
    assert not explains([asked, start], first)
    assert not explains([asked], second)
    assert not explains([asked, start, *written], second)


def test_a_cancel_names_the_run_once_it_is_known(theirs: Theirs, talk: Talk) -> None:
    run = talk.start("~1~", "~1~")
    steps: list[Json] = [
        {"op": "send", "view": 0, "said": {"id": "said", "text": "hi"}},
        *deliveries(talk),
        {"op": "cancel", "run": 0},
    ]
    ours, other = live_through(theirs, Script(steps=steps))
    mine, its = (shown["frames"][0][0]["extras"]["ai"]["transport"] for shown in (ours, other))
    assert mine == {**its, "run-id": run.run_id}
    assert "run-id" not in its


def test_a_step_starts_once_for_who_comes_late(theirs: Theirs, talk: Talk) -> None:
    run = talk.start(talk.say("hi"), "m1")
    talk.reply(talk.step(run), "one ", "two", closed=False)
    history = talk.history
    stream = history[-1]
    talk.append(stream.serial or "", " three")
    late = replace(talk.history[-1], version=talk.live[-1].version)
    steps: list[Json] = [
        {"op": "deliver", "message": message_to_json(late)},
        {"op": "loadOlder", "view": 0, "limit": 1000},
    ]
    ours, other = live_through(theirs, Script(history[::-1], steps=steps))
    starts = [
        [part["type"] for part in shown["views"][0]["messages"][-1]["message"]["parts"]]
        for shown in (ours, other)
    ]
    assert starts == [["step-start", "text"], ["step-start", "step-start", "text"]]


def asked_for_a_tool(talk: Talk) -> tuple[Run, Call]:
    run = talk.start(talk.say("hi"), "m1")
    call = talk.call_tool(talk.step(run), {})
    talk.suspend(run)
    return run, call


def test_who_answers_a_call_twice_hears_of_its_run_twice(theirs: Theirs, talk: Talk) -> None:
    run, call = asked_for_a_tool(talk)
    asked = deliveries(talk)
    talk.resume(run, call.message_id)
    answer = {"runId": run.run_id, "messageId": call.message_id, "toolCallId": call.call_id, "text": "21"}
    answers: list[Json] = [{"op": "returnTool", "view": 0, **answer}] * 2
    ours, other = live_through(theirs, Script(steps=[*asked, *answers, *deliveries(talk, len(asked))]))
    assert [sent["runId"] for sent in ours["sent"]] == [run.run_id, run.run_id]
    assert [sent["runId"] for sent in other["sent"]] == ["", run.run_id]


def test_a_run_stands_where_its_fork_was_said(theirs: Theirs, talk: Talk) -> None:
    run, call = asked_for_a_tool(talk)
    fork = talk.fork_tool(run, call, "21")
    talk.say("meanwhile", "m1")
    talk.start(fork, "m1")
    *before, forked, meanwhile, start = deliveries(talk)
    ours, other = live_through(theirs, Script(steps=[*before, meanwhile, start, forked]))
    in_order, _ = live_through(theirs, Script(steps=[*before, forked, meanwhile, start]))
    assert ids(ours) == ids(in_order) == ["m1", fork, talk_id(meanwhile)]
    assert ids(other) == ["m1", talk_id(meanwhile), fork]


def talk_id(delivery: Json) -> str:
    return str(delivery["message"]["extras"]["ai"]["transport"]["codec-message-id"])


def views(shown: Json) -> list[list[str]]:
    return [[entry["codecMessageId"] for entry in run["view"]] for run in shown["runs"]]


def work_through(agents: Theirs, steps: list[Json]) -> tuple[list[Json], list[Json]]:
    """Return what the agents of either side published and showed after each step."""

    async def here() -> list[Json]:
        async with AgentPlayer.open() as player:
            return [await player.take(step) for step in steps]

    [there] = agents.play([Script(steps=steps)])
    return asyncio.run(here()), there


def steered_then_cancelled(talk: Talk) -> list[Json]:
    """A run writes, takes in the steering message m2, and is cancelled before it writes again; m4 comes."""
    talk.say("hi")
    talk.say_into("run-0", "and this")
    talk.cancel_run("run-0")
    talk.say_into("run-0", "and that")
    hi, this, cancel, that = deliveries(talk)
    return [
        hi,
        {"op": "create", "inputEventId": "event-m1", "runId": "run-0", "invocationId": "invocation-0"},
        {"op": "start", "run": 0},
        this,
        {"op": "createStep", "run": 0},
        {"op": "startStep", "step": 0},
        {"op": "sendStep", "step": 0, "chunk": {"type": "data-note", "id": "note", "data": 1}},
        {"op": "hasInput", "run": 0},
        cancel,
        {"op": "pipeStep", "step": 0, "chunks": [{"type": "start"}, {"type": "finish"}]},
        that,
    ]


def test_a_pipe_that_wrote_nothing_has_responded_to_nothing(agents: Theirs, talk: Talk) -> None:
    steps = steered_then_cancelled(talk)
    ours, other = work_through(agents, steps)
    assert ours[-2]["frames"] == other[-2]["frames"] == []
    assert views(ours[-1]) == [["m1", "~0~", "m2", "m4"]]
    assert views(other[-1]) == [["m1", "m2", "~0~", "m4"]]
    assert list(unexplained_of_agents(steps, ours, other)) == []


def test_an_agent_that_takes_over_sees_at_once_which_steering_messages_wait(
    agents: Theirs, talk: Talk
) -> None:
    run = talk.start(talk.say("hi"), "m1")
    steering = talk.say("and this", into=run)
    step = talk.step(run)
    reply = talk.reply(step, "one")
    adopt: Json = {
        "op": "create",
        "adopted": True,
        "inputEventId": "event-m1",
        "runId": run.run_id,
        "invocationId": run.invocation_id,
    }
    steps = [adopt, *deliveries(talk), {"op": "load", "run": 0}]
    ours, other = work_through(agents, steps)
    assert views(ours[-1]) == [["m1", reply, steering]]
    assert views(other[-1]) == [["m1", steering, reply]]
    delivered = len(talk.live)
    second = talk.reply(step, "two")
    ours, other = work_through(agents, [*steps, *deliveries(talk, delivered)])
    assert views(ours[-1]) == views(other[-1]) == [["m1", reply, second, steering]]


def test_only_a_pipe_that_wrote_nothing_explains_another_place(agents: Theirs, talk: Talk) -> None:
    steps = steered_then_cancelled(talk)
    no_pipe = [step for step in steps if step["op"] not in ("pipeStep", "hasInput")]
    ours, other = work_through(agents, no_pipe)
    assert list(unexplained_of_agents(no_pipe, ours, other)) == []
    ours, other = work_through(agents, no_pipe)
    view = other[-1]["runs"][0]["view"]
    view.insert(1, view.pop(2))
    assert list(unexplained_of_agents(no_pipe, ours, other)) != []
