"""Generated conversations: edits of edits, regenerations, retries, forks, and errors."""

from collections.abc import Callable
from random import Random

from tests.conversation.talk import Run, Talk


def generate(random: Random, turns: int = 12) -> Talk:
    """Compose a conversation."""
    return _Generator(random).compose(turns)


class _Generator:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._talk = Talk()
        self._word = 0

    def compose(self, turns: int) -> Talk:
        self._say()
        for _ in range(turns):
            self._random.choice(self._possible())()
        return self._talk

    def _possible(self) -> list[Callable[[], None]]:
        talk = self._talk
        done: list[Callable[[], None]] = [self._say, self._start]
        active = self._with("active")
        if talk.inputs:
            done.append(self._edit)
        if active:
            done += [
                self._reply,
                self._reply,
                self._retry,
                self._steer,
                self._finish,
                self._finish,
                self._cancel,
            ]
        if self._with("suspended"):
            done += [self._resume, self._fork, self._fork]
        if any(run.messages for run in talk.runs):
            done += [self._regenerate, self._regenerate]
        if any(run.status in ("complete", "cancelled", "error") for run in talk.runs):
            done.append(self._late)
        return done

    def _with(self, status: str) -> list[Run]:
        return [run for run in self._talk.runs if run.status == status]

    def _text(self) -> str:
        self._word += 1
        return f"w{self._word} "

    def _newest(self) -> str | None:
        replies = [run.messages[-1] for run in self._talk.runs if run.messages]
        return self._random.choice([*replies, *self._talk.inputs, None]) if self._talk.inputs else None

    def _say(self) -> None:
        message_id = self._talk.say(self._text(), self._newest(), parts=self._random.choice((1, 1, 3)))
        if self._random.random() < 0.7:
            self._begin(message_id)

    def _begin(self, message_id: str) -> None:
        run = self._talk.start(message_id, message_id)
        if self._random.random() < 0.8:
            self._write(run)

    def _start(self) -> None:
        """Another agent answers the same input."""
        message_id = self._random.choice(list(self._talk.inputs))
        self._begin(message_id)

    def _edit(self) -> None:
        edited = self._random.choice(list(self._talk.inputs))
        parent = self._talk.inputs[edited]
        self._begin(self._talk.say(self._text(), parent, edits=edited))

    def _write(self, run: Run, step_id: str | None = None) -> None:
        step = self._talk.step(run, step_id)
        words = [self._text() for _ in range(self._random.randint(0, 3))]
        closed = self._random.random() < 0.8
        for _ in range(self._random.choice((1, 1, 2))):
            self._talk.reply(step, *words, closed=closed)
        if closed:
            self._talk.end_step(step, self._random.choice(("complete", "failed")))

    def _reply(self) -> None:
        self._write(self._random.choice(self._with("active")))

    def _retry(self) -> None:
        run = self._random.choice(self._with("active"))
        self._write(run, self._random.choice(run.attempts).step_id if run.attempts else None)

    def _steer(self) -> None:
        run = self._random.choice(self._with("active"))
        self._talk.say(self._text(), run.follows, into=run)

    def _finish(self) -> None:
        run = self._random.choice(self._with("active"))
        match self._random.choice(("complete", "suspend", "suspend", "error", "cancelled")):
            case "suspend":
                self._talk.suspend(run)
            case reason:
                self._talk.end(run, reason)

    def _late(self) -> None:
        """An agent that has not noticed says that a run ends, or goes on."""
        over = [run for run in self._talk.runs if run.status in ("complete", "cancelled", "error")]
        run = self._random.choice(over)
        status = run.status
        self._random.choice((self._talk.suspend, self._talk.end))(run)
        run.status = status

    def _cancel(self) -> None:
        self._talk.cancel(self._random.choice(self._with("active")))

    def _resume(self) -> None:
        run = self._random.choice(self._with("suspended"))
        message_id = self._talk.say(self._text(), run.follows, into=run)
        self._talk.resume(run, message_id)
        self._write(run)

    def _fork(self) -> None:
        superseded = self._random.choice(self._with("suspended"))
        message_id = self._talk.fork(self._text(), superseded)
        if self._random.random() < 0.8:
            run = self._talk.start(message_id, superseded.parent)
            run.messages.append(message_id)
            if self._random.random() < 0.8:
                self._write(run)

    def _regenerate(self) -> None:
        run = self._random.choice([run for run in self._talk.runs if run.messages])
        place = self._random.randrange(len(run.messages))
        target = run.messages[place]
        parent = run.messages[place - 1] if place > 0 else run.parent
        if parent is None:
            return
        trigger = self._talk.ask_again(target, parent)
        again = self._talk.start(trigger, parent, follows=parent, regenerates=target)
        if self._random.random() < 0.9:
            self._write(again)
