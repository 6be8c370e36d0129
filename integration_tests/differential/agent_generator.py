"""Generates operations of agents in any order, valid and invalid."""

from collections.abc import Callable
from random import Random

from integration_tests.differential.agents import AgentPlayer
from integration_tests.differential.script import Json, Script, message_to_json
from tests.conversation.talk import Talk


class AgentComposer:
    """Composes the work of one agent session and lives through it on our side."""

    def __init__(self, random: Random, turns: int) -> None:
        self._random = random
        self._turns = turns
        self._talk = Talk()
        self._delivered = 0
        self._ids = 0
        self._triggers: list[str] = []
        self._answers: dict[str, int] = {}
        self._open: set[int] = set()
        self._runs = 0
        self._steps: list[int] = []
        self._started: set[int] = set()

    async def compose(self) -> tuple[Script, list[Json]]:
        """Compose what happens.

        Returns:
            The script, and what our side published and showed.
        """
        script, shown = Script(), list[Json]()
        async with AgentPlayer.open() as player:
            for _ in range(self._turns):
                for step in self._random.choice(self._possible())():
                    script.steps.append(step)
                    shown.append(await player.take(step))
        return script, shown

    def _possible(self) -> list[Callable[[], list[Json]]]:
        done = [self._say]
        if self._triggers:
            done.append(self._create)
        if self._runs:
            done += [self._start, self._pipe, self._create_step, self._end, self._suspend, self._has_input]
            done += [self._cancel, self._steer, self._go_on]
        if self._steps:
            done += [self._start_step, self._pipe_step, self._send_step, self._end_step]
        return done

    def _say(self) -> list[Json]:
        edited = self._random.choice([None, *self._talk.inputs])
        message_id = self._talk.say(self._word(), None, edits=edited)
        self._triggers.append(f"event-{message_id}")
        return self._deliveries()

    def _go_on(self) -> list[Json]:
        """A client answers a run, which may be suspended; the next run goes on with it."""
        run = self._random.randrange(self._runs)
        message_id = self._talk.say_into(f"run-{run}", self._word())
        self._triggers.append(f"event-{message_id}")
        self._answers[self._triggers[-1]] = run
        return self._deliveries()

    def _create(self) -> list[Json]:
        run = self._runs
        event_id = self._random.choice(self._triggers)
        if self._answers.get(event_id) in self._open:
            return []  # two handles on one run: it is unclear which one it means
        self._runs += 1
        if event_id not in self._answers:
            self._open.add(run)
        create = {
            "op": "create",
            "inputEventId": event_id,
            "runId": f"run-{run}",
            "invocationId": f"invocation-{run}",
        }
        return [create, *(self._begin(run) if self._random.random() < 0.9 else [])]

    def _start(self) -> list[Json]:
        return self._begin(self._run())

    def _begin(self, run: int) -> list[Json]:
        self._started.add(run)
        return [{"op": "start", "run": run}]

    def _pipe(self) -> list[Json]:
        return [{"op": "pipe", "run": self._run(), "chunks": self._chunks()}]

    def _has_input(self) -> list[Json]:
        return [{"op": "hasInput", "run": self._run()}]

    def _end(self) -> list[Json]:
        run, reason = self._run(), self._random.choice(("complete", "cancelled", "error"))
        if run in self._started:
            self._open.discard(run)
        step: Json = {"op": "end", "run": run, "reason": reason}
        if step["reason"] == "error" and self._random.random() < 0.7:
            step["error"] = {"message": "the model is gone", "code": 104008, "statusCode": 500}
        return [step]

    def _suspend(self) -> list[Json]:
        run = self._run()
        if run in self._started:
            self._open.discard(run)
        return [{"op": "suspend", "run": run}]

    def _create_step(self) -> list[Json]:
        step: Json = {"op": "createStep", "run": self._run()}
        if self._random.random() < 0.5:
            step["stepId"] = f"step-{self._random.randint(0, 2)}"
        if self._random.random() < 0.3:
            step["stepClientId"] = self._random.choice(("alice", "bob"))
        self._steps.append(len(self._steps))
        start: Json = {"op": "startStep", "step": self._steps[-1]}
        return [step, *([start] if self._random.random() < 0.7 else [])]

    def _start_step(self) -> list[Json]:
        return [{"op": "startStep", "step": self._step()}]

    def _pipe_step(self) -> list[Json]:
        return [{"op": "pipeStep", "step": self._step(), "chunks": self._chunks()}]

    def _send_step(self) -> list[Json]:
        chunk = {"type": "data-note", "id": self._word(), "data": {"n": self._ids}}
        return [{"op": "sendStep", "step": self._step(), "chunk": chunk}]

    def _end_step(self) -> list[Json]:
        step: Json = {"op": "endStep", "step": self._step()}
        reason = self._random.choice((None, "complete", "failed", "cancelled"))
        return [step if reason is None else {**step, "reason": reason}]

    def _cancel(self) -> list[Json]:
        self._talk.cancel_run(f"run-{self._run()}")
        return self._deliveries()

    def _steer(self) -> list[Json]:
        self._talk.say_into(f"run-{self._run()}", self._word())
        return self._deliveries()

    def _deliveries(self) -> list[Json]:
        new = self._talk.live[self._delivered :]
        self._delivered = len(self._talk.live)
        return [{"op": "deliver", "message": message_to_json(message)} for message in new]

    def _chunks(self) -> list[Json]:
        chunks: list[Json] = [{"type": "start"}, {"type": "start-step"}]
        if self._random.random() < 0.3:
            chunks[0]["messageId"] = self._word()
        for _ in range(self._random.randint(0, 2)):
            text = self._word()
            chunks.append({"type": "text-start", "id": text})
            chunks += [
                {"type": "text-delta", "id": text, "delta": self._word()}
                for _ in range(self._random.randint(0, 3))
            ]
            if self._random.random() < 0.9:
                chunks.append({"type": "text-end", "id": text})
        if self._random.random() < 0.1:
            chunks.append({"throw": "the model is gone"})
        return [*chunks, {"type": "finish-step"}, {"type": "finish"}]

    def _run(self) -> int:
        return self._random.randrange(max(0, self._runs - 3), self._runs)

    def _step(self) -> int:
        return self._random.choice(self._steps[-3:])

    def _word(self) -> str:
        self._ids += 1
        return f"w{self._ids}"
