"""The people and agents other than the client in a generated conversation."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from tests.conversation.talk import Call, Run, Talk

Deed: TypeAlias = Callable[[], Awaitable[None]]
"""Something that is done; it puts messages on the channel."""

PEOPLE: Final = ("bob", "carol")


@dataclass(frozen=True)
class Trigger:
    """An input that no agent has answered.

    Attributes:
        message_id: The input.
        parent: The message that the run will follow.
        replaces: The message that the run shall replace.
        is_fork: Whether the input is itself the beginning of the run's reply.
    """

    message_id: str
    parent: str | None
    replaces: str | None = None
    is_fork: bool = False


class Others:
    """People who speak, edit, ask again and answer tools, and agents that reply, step by step.

    Args:
        random: Chooses.
        talk: What they say goes here.
        unanswered: Inputs that no agent has answered.

    Attributes:
        forks: Answers that runs of their own have started from.
    """

    def __init__(self, random: Random, talk: Talk, unanswered: list[Trigger]) -> None:
        self._random = random
        self._talk = talk
        self._unanswered = unanswered
        self._words = 0
        self.forks: set[str | None] = set()

    @property
    def deeds(self) -> Sequence[Deed]:
        """The deeds that are possible now; a likely one is listed several times."""
        talk = self._talk
        self._talk.speaker = self._random.choice(PEOPLE)
        done: list[Deed] = [self._say]
        if talk.inputs:
            done.append(self._edit)
        if self._unanswered:
            done += [self._start] * 4
        if self.with_status("active"):
            done += [self._reply] * 4 + [self._finish] * 3 + [self._retry, self._steer]
            done += [self._call_tool] * 2
        if self.with_status("suspended"):
            done += [self._resume, self._fork]
        if self._open_calls():
            done += [self._return_tool] * 2 + [self._fork_tool]
        if self._answered():
            done += [self._go_on] * 2
        if any(run.messages for run in talk.runs):
            done.append(self._ask_again)
        return done

    def with_status(self, status: str) -> list[Run]:
        """List the runs that stand somewhere."""
        return [run for run in self._talk.runs if run.status == status]

    def text(self) -> str:
        """Return words that nobody has said before."""
        self._words += 1
        return f"w{self._words} "

    # People

    async def _say(self) -> None:
        message_id = self._talk.say(self.text(), self._newest())
        self._unanswered.append(Trigger(message_id, message_id))

    async def _edit(self) -> None:
        edited = self._random.choice(list(self._talk.inputs))
        parent = self._talk.inputs[edited]
        message_id = self._talk.say(self.text(), parent, edits=edited)
        self._unanswered.append(Trigger(message_id, message_id))

    async def _ask_again(self) -> None:
        run = self._random.choice([run for run in self._talk.runs if run.messages])
        place = self._random.randrange(len(run.messages))
        parent = run.messages[place - 1] if place > 0 else run.parent
        if parent is None:
            return
        trigger = self._talk.ask_again(run.messages[place], parent)
        self._unanswered.append(Trigger(trigger, parent, run.messages[place]))

    async def _steer(self) -> None:
        run = self._random.choice(self.with_status("active"))
        self._talk.say(self.text(), run.follows, into=run)

    async def _return_tool(self) -> None:
        """Answer a call; somebody else may have, and both answers are on the channel."""
        run, call = self._random.choice(self._open_calls())
        self._talk.return_tool(run, call, self.text(), self._random.choice(("output", "error", "approval")))

    async def _fork_tool(self) -> None:
        superseded, call = self._random.choice(self._open_calls())
        message_id = self._talk.fork_tool(superseded, call, self.text())
        self._unanswered.append(Trigger(message_id, superseded.parent, is_fork=True))

    async def _resume(self) -> None:
        run = self._random.choice(self.with_status("suspended"))
        message_id = self._talk.say(self.text(), run.follows, into=run)
        self._talk.resume(run, message_id)

    async def _fork(self) -> None:
        superseded = self._random.choice(self.with_status("suspended"))
        message_id = self._talk.fork(self.text(), superseded)
        self._unanswered.append(Trigger(message_id, superseded.parent, is_fork=True))

    # Agents

    async def _start(self) -> None:
        trigger = self._unanswered.pop(self._random.randrange(len(self._unanswered)))
        follows = trigger.parent if trigger.replaces is not None else None
        run = self._talk.start(
            trigger.message_id, trigger.parent, follows=follows, regenerates=trigger.replaces
        )
        if trigger.is_fork:
            self.forks.add(trigger.message_id)
            run.messages.append(trigger.message_id)

    async def _reply(self) -> None:
        self._write(self._random.choice(self.with_status("active")))

    async def _retry(self) -> None:
        run = self._random.choice(self.with_status("active"))
        self._write(run, self._random.choice(run.attempts).step_id if run.attempts else None)

    async def _call_tool(self) -> None:
        run = self._random.choice(self.with_status("active"))
        step = self._talk.step(run)
        self._talk.call_tool(step, {"city": self.text()}, to_approve=self._random.random() < 0.3)
        self._talk.end_step(step)
        self._talk.suspend(run)

    async def _go_on(self) -> None:
        run = self._random.choice(self._answered())
        self._talk.resume(run, self._random.choice([call for call in run.calls if call.answers]).message_id)

    async def _finish(self) -> None:
        run = self._random.choice(self.with_status("active"))
        match self._random.choice(("complete", "complete", "suspend", "error", "cancelled")):
            case "suspend":
                self._talk.suspend(run)
            case reason:
                self._talk.end(run, reason)

    def _write(self, run: Run, step_id: str | None = None) -> None:
        step = self._talk.step(run, step_id)
        closed = self._random.random() < 0.8
        for _ in range(self._random.choice((1, 1, 2))):
            words = [self.text() for _ in range(self._random.randint(0, 3))]
            self._talk.reply(step, *words, closed=closed)
        if closed:
            self._talk.end_step(step, self._random.choice(("complete", "failed")))

    def _open_calls(self) -> list[tuple[Run, Call]]:
        return [(run, call) for run in self.with_status("suspended") for call in run.calls]

    def _answered(self) -> list[Run]:
        return [run for run in self.with_status("suspended") if any(call.answers for call in run.calls)]

    def _newest(self) -> str | None:
        if not self._talk.inputs:
            return None
        replies = [run.messages[-1] for run in self._talk.runs if run.messages]
        return self._random.choice([*replies, *self._talk.inputs, None])
