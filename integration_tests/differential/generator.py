"""Generated conversations, from the point of view of one client.

Other people and agents speak through the channel; the client does what a person does with its views. The
channel delivers in the order of each publisher, later or sooner, and now and then twice.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from random import Random

from ably_ai_transport import InboundMessage
from ably_ai_transport.wire import MessageAction, names
from integration_tests.differential.others import Others, Trigger
from integration_tests.differential.ours import Player
from integration_tests.differential.script import CLIENT_ID, Json, Script, message_to_json
from tests.conversation.talk import Call, Run, Talk


class Channel(Talk):
    """A talk whose messages have publishers, and that echoes what a client publishes."""

    def echo(self, frame: Json) -> InboundMessage:
        """Put a message of the client on the channel."""
        serial = self._serial()
        message = InboundMessage(
            name=frame["name"],
            data=frame.get("data"),
            serial=serial,
            version=serial,
            timestamp=self._clock,
            client_id=CLIENT_ID,
            extras=frame["extras"],
        )
        self._stored[serial] = message
        self.live.append(message)
        return message


@dataclass
class Scene:
    """A script, and what our side showed after each of its steps.

    Attributes:
        script: What happened.
        shown: What there was to see.
    """

    script: Script
    shown: list[Json] = field(default_factory=list[Json])


@dataclass
class Plan:
    """Limits and features of a generated conversation.

    Attributes:
        past_turns: Things that happened before the client came.
        turns: Things that happen while it is there.
        page_size: Messages a page of history.
        loads_first: Whether the client loads the past before anything else happens.
        acts: Whether the client does anything but to load the past.
        late: Whether messages of different publishers overtake each other.
        repeated: Whether messages come twice.
        views: How many views the client opens at most.
    """

    past_turns: int = 0
    turns: int = 25
    page_size: int = 1000
    loads_first: bool = True
    acts: bool = True
    late: bool = False
    repeated: bool = False
    views: int = 1


class Composer:
    """Composes one conversation and lives through it on our side."""

    def __init__(self, random: Random, plan: Plan) -> None:
        self._random = random
        self._plan = plan
        self._channel = Channel()
        self._taken = 0
        self._queues: dict[str, deque[InboundMessage]] = {}
        self._texts: dict[str | None, str] = {}
        self._past: set[str | None] = set()
        self._started: set[str] = set()
        self._delivered: set[str | None] = set()
        self._unanswered: list[Trigger] = []
        self._others = Others(random, self._channel, self._unanswered)
        self._sent: list[str] = []
        self._returned: set[str] = set()
        self._views = 1
        self._player: Player
        self._scene: Scene

    async def compose(self) -> Scene:
        """Compose the conversation.

        Returns:
            What happened, and what our side showed.
        """
        for _ in range(self._plan.past_turns):
            await self._random.choice(self._others.deeds)()
        history = self._leave_past()
        self._scene = Scene(Script(history, self._plan.page_size))
        async with AsyncExitStack() as stack:
            self._player = await stack.enter_async_context(Player.of(self._scene.script))
            if history and self._plan.loads_first:
                await self._load_all()
            for _ in range(self._plan.turns):
                await self._turn()
            await self._deliver_all()
            if history:
                await self._load_all()
                await self._step(op="newest", view=0)
            run_ids = [run.run_id for run in self._channel.runs]
            message_ids = [*self._channel.inputs, *(m for run in self._channel.runs for m in run.messages)]
            await self._step(op="inspect", runIds=run_ids, messageIds=message_ids)
        return self._scene

    async def _turn(self) -> None:
        self._queue_up()
        if self._queues and self._random.random() < (0.6 if self._plan.late else 0.9):
            for _ in range(self._random.randint(1, 12)):
                if self._queues:
                    await self._deliver()
            return
        choices = self._others.deeds if self._random.random() < 0.6 else self._own()
        if not choices:
            return
        await self._random.choice(choices)()
        if not self._plan.late:
            await self._deliver_all()

    # What the client does

    def _own(self) -> Sequence[Callable[[], Awaitable[None]]]:
        loads = self._scene.script.history and not self._plan.loads_first
        done: list[Callable[[], Awaitable[None]]] = [self._load_older] * 3 if loads else []
        if not self._plan.acts:
            return done
        done += [self._send, self._send, self._refused]
        if self._ids(0):
            done += [self._edit, self._regenerate, self._regenerate, self._select, self._select, self._select]
        if self._views < self._plan.views:
            done.append(self._new_view)
        if self._sent:
            done += [self._cancel, self._steer]
        if self._suspended():
            done += [self._continue]
        if self._open_calls():
            done += [self._return_tool, self._fork_tool]
        if self._others.with_status("active"):
            done += [self._cancel_run]
        return done

    def _ids(self, view: int) -> list[str]:
        if not self._scene.shown:
            return []
        return [entry["codecMessageId"] for entry in self._scene.shown[-1]["views"][view]["messages"]]

    def _view(self) -> int:
        return self._random.randrange(self._views)

    def _said(self) -> Json:
        text = self._others.text()
        return {"id": f"said-{text.strip()}", "text": text}

    async def _send(self) -> None:
        shown = await self._step(op="send", view=self._view(), said=self._said())
        self._take_published(shown)

    async def _refused(self) -> None:
        await self._step(op="refuse")
        await self._step(op="send", view=self._view(), said=self._said())

    async def _edit(self) -> None:
        view = self._view()
        if not (ids := self._ids(view)):
            return
        message_id = self._random.choice(ids)
        shown = await self._step(op="edit", view=view, messageId=message_id, said=self._said())
        self._take_published(shown)

    async def _regenerate(self) -> None:
        view = self._view()
        if not (ids := self._ids(view)):
            return
        shown = await self._step(op="regenerate", view=view, messageId=self._random.choice(ids))
        self._take_published(shown)

    async def _select(self) -> None:
        view = self._view()
        shown = self._scene.shown[-1]["views"][view]
        branching = [
            entry["codecMessageId"]
            for entry, branch in zip(shown["messages"], shown["branches"], strict=True)
            if branch["hasSiblings"]
        ]
        if branching:
            message_id = self._random.choice(branching)
            await self._step(op="select", view=view, messageId=message_id, index=self._random.randint(0, 3))

    async def _new_view(self) -> None:
        await self._step(op="newView")
        self._views += 1

    async def _load_all(self) -> None:
        while not self._scene.shown or self._scene.shown[-1]["views"][0]["hasOlder"]:
            await self._load_older()
        # Once more, for a side that has revealed less so far.
        await self._step(op="loadOlder", view=0, limit=1000)

    async def _load_older(self) -> None:
        if self._random.random() < 0.2:
            replies = [message for run in self._channel.runs for message in run.messages]
            message_id = self._random.choice([*self._channel.inputs, *replies, "nothing"])
            await self._step(op="loadUntil", view=0, messageId=message_id)
            return
        await self._step(op="loadOlder", view=0, limit=self._random.randint(1, 5))

    async def _cancel(self) -> None:
        shown = await self._step(op="cancel", run=self._random.randrange(len(self._sent)))
        self._take_published(shown)

    async def _cancel_run(self) -> None:
        run = self._random.choice(self._others.with_status("active"))
        self._take_published(await self._step(op="cancelRun", runId=run.run_id))

    async def _steer(self) -> None:
        run = self._random.randrange(len(self._sent))
        self._take_published(await self._step(op="steer", run=run, said=self._said()))

    async def _continue(self) -> None:
        run = self._random.choice(self._suspended())
        options = {"runId": run.run_id}
        shown = await self._step(op="send", view=self._view(), said=self._said(), options=options)
        for message in self._take_published(shown):
            self._channel.resume(run, message.transport_headers[names.CODEC_MESSAGE_ID])

    async def _return_tool(self) -> None:
        open_calls = [one for one in self._open_calls() if one[1].message_id not in self._returned]
        if not open_calls:
            return
        run, call = self._random.choice(open_calls)
        shown = await self._step(
            op="returnTool", view=self._view(), runId=run.run_id, **_answer(call), text=self._others.text()
        )
        if self._take_published(shown):
            call.answers += 1
            self._returned.add(call.message_id)

    async def _fork_tool(self) -> None:
        run, call = self._random.choice(self._open_calls())
        shown = await self._step(
            op="forkTool", view=self._view(), runId=run.run_id, **_answer(call), text=self._others.text()
        )
        self._take_published(shown)

    def _suspended(self) -> list[Run]:
        """List the suspended runs that the client knows."""
        return [run for run in self._others.with_status("suspended") if run.run_id in self._started]

    def _open_calls(self) -> list[tuple[Run, Call]]:
        """List the calls that the client sees."""
        seen = set(self._ids(0))
        return [(run, call) for run in self._suspended() for call in run.calls if call.message_id in seen]

    # What the channel does

    async def _step(self, **step: object) -> Json:
        self._scene.script.steps.append(step)
        shown = await self._player.take(step)
        self._scene.shown.append(shown)
        return shown

    def _take_published(self, shown: Json) -> list[InboundMessage]:
        """Put on the channel what the client has published, and remember what an agent could answer."""
        echoed: list[InboundMessage] = []
        for frame in shown["frames"]:
            for message in frame:
                echoed.append(self._channel.echo(message))
                headers = echoed[-1].transport_headers
                message_id = headers.get(names.CODEC_MESSAGE_ID)
                if echoed[-1].name != names.AI_INPUT or message_id is None:
                    continue
                run = next((r for r in self._channel.runs if r.run_id == headers.get(names.RUN_ID)), None)
                if run is not None:
                    run.messages.append(message_id)
                    continue
                self._sent.append(message_id)
                regenerates = headers.get(names.MSG_REGENERATE)
                if names.SUPERSEDES in headers:
                    self._unanswered.append(Trigger(message_id, headers.get(names.PARENT), is_fork=True))
                    continue
                if regenerates is None:
                    self._channel.inputs[message_id] = headers.get(names.PARENT)
                parent = message_id if regenerates is None else headers.get(names.PARENT)
                self._unanswered.append(Trigger(message_id, parent, regenerates))
        return echoed

    def _leave_past(self) -> list[InboundMessage]:
        """Turn what has happened so far into history, newest first."""
        history = self._channel.history
        for message in self._channel.live:
            self._texts[message.serial] = self._texts.get(message.serial, "") + str(message.data)
            self._past.add(message.serial)
            if message.name == names.RUN_START:
                self._started.add(message.transport_headers[names.RUN_ID])
        self._taken = len(self._channel.live)
        history.reverse()
        return history

    def _queue_up(self) -> None:
        for message in self._channel.live[self._taken :]:
            self._taken += 1
            text = self._texts[message.serial] = self._texts.get(message.serial, "") + str(message.data)
            whole = message
            if message.serial in self._past:
                # The first delivery after an attach is the whole message.
                self._past.discard(message.serial)
                whole = replace(message, action=MessageAction.UPDATE, data=text)
            headers = message.transport_headers
            is_clients = message.name in (names.AI_INPUT, names.CANCEL)
            publisher = f"client {message.client_id}" if is_clients else headers[names.RUN_ID]
            self._queues.setdefault(publisher, deque()).append(whole)

    async def _deliver(self) -> None:
        if self._plan.late:
            publisher = self._random.choice(
                [name for name, queue in self._queues.items() if self._may(queue[0])]
            )
        else:
            publisher = min(self._queues, key=lambda name: self._order(self._queues[name][0]))
        queue = self._queues[publisher]
        message = queue.popleft()
        self._delivered.add(message.transport_headers.get(names.CODEC_MESSAGE_ID))
        if message.name == names.RUN_START:
            self._started.add(message.transport_headers[names.RUN_ID])
        if not queue:
            del self._queues[publisher]
        for _ in range(2 if self._plan.repeated and self._random.random() < 0.2 else 1):
            await self._step(op="deliver", message=message_to_json(message))

    def _may(self, message: InboundMessage) -> bool:
        """Tell whether a message may come now: a run starts after its fork, and is spoken into after that."""
        headers = message.transport_headers
        if message.name == names.AI_INPUT:
            return headers.get(names.RUN_ID, "") in {"", *self._started}
        trigger = headers.get(names.INPUT_CODEC_MESSAGE_ID)
        return trigger not in self._others.forks or trigger in self._delivered

    async def _deliver_all(self) -> None:
        self._queue_up()
        while self._queues:
            await self._deliver()

    @staticmethod
    def _order(message: InboundMessage) -> str:
        return message.version or ""


def _answer(call: Call) -> Json:
    return {"messageId": call.message_id, "toolCallId": call.call_id}
