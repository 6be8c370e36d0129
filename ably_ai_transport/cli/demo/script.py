"""The prepared scenes: a question, a cancel from another device, a late joiner. Each ends with checks."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from ably_ai_transport.cli.demo.participant import Participant
from ably_ai_transport.cli.demo.stage import Stage
from ably_ai_transport.cli.problems import CliError
from ably_ai_transport.conversation import TERMINAL

ENOUGH_TO_CANCEL = 160
"""Characters after which Bob cancels."""
ENOUGH_TO_JOIN = 90
"""Characters after which Carol joins."""


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of a check.

    Attributes:
        passed: Whether it passed.
        text: The claim that was checked.
    """

    passed: bool
    text: str


class Narrator(Protocol):
    """Shows the scenes."""

    def scene(self, title: str) -> None:
        """Announce a scene."""
        ...

    def say(self, text: str) -> None:
        """Describe an event."""
        ...

    def check(self, check: Check) -> None:
        """Show the outcome of a check."""
        ...

    def watching(self, stage: Stage) -> AbstractAsyncContextManager[None]:
        """Show how the replies grow while the block runs."""
        ...


class Script:
    """Plays the scenes.

    Attributes:
        checks: The outcomes so far.
    """

    def __init__(self, stage: Stage, narrator: Narrator) -> None:
        self.checks: list[Check] = []
        self._stage = stage
        self._narrator = narrator

    async def play(self) -> bool:
        """Play all scenes.

        Returns:
            Whether every check passed.

        Raises:
            CliError: An awaited event did not happen, or the agent failed.
        """
        await self._two_clients()
        await self._cancel_from_another_client()
        await self._late_joiner()
        return all(check.passed for check in self.checks)

    async def _two_clients(self) -> None:
        stage, narrator = self._stage, self._narrator
        narrator.scene("Alice asks, and both see the reply grow")
        states: set[int] = set()
        off = stage.bob.session.view.on_update(lambda: states.add(len(stage.bob.reply_text())))
        async with narrator.watching(stage):
            await self._ask(0)
            await self._end()
        off()
        said = self._said()
        self._check(
            all(person.reply_text() == said for person in stage.people),
            f"both show the reply as the model gave it, to the character ({len(said)})",
        )
        self._check(len(states) > 4, f"it grew before Bob's eyes, in {len(states)} steps")

    async def _cancel_from_another_client(self) -> None:
        stage, narrator = self._stage, self._narrator
        narrator.scene("Alice asks again, and Bob stops it from his device")
        async with narrator.watching(stage):
            await self._ask(1)
            await stage.bob.until(lambda: self._streams(stage.bob, ENOUGH_TO_CANCEL), "enough of the reply")
            run = stage.bob.last_run
            if run is not None:
                narrator.say("Bob presses stop.")
                await stage.bob.session.cancel(run.run_id)
            await self._end()
        said = self._said()
        self._check(
            all(
                person.last_run is not None and person.last_run.status == "cancelled"
                for person in stage.people
            ),
            "both show it as cancelled",
        )
        self._check(
            all(person.reply_text() == said for person in stage.people),
            f"both keep what had been said until then ({len(said)} characters)",
        )

    async def _late_joiner(self) -> None:
        stage, narrator = self._stage, self._narrator
        narrator.scene("A third question, and Carol comes in the middle of the reply")
        async with narrator.watching(stage):
            await self._ask(2)
            await stage.bob.until(lambda: self._streams(stage.bob, ENOUGH_TO_JOIN), "some of the reply")
            carol = await stage.join("Carol")
            first_sight = len(carol.reply_text())
            narrator.say(
                f"Carol has joined: {len(carol.messages)} messages, {first_sight} characters of this reply."
            )
            await self._end()
        said = self._said()
        self._check(0 < first_sight < len(said), "Carol came while it was streaming, and saw its beginning")
        self._check(carol.reply_text() == said, f"at the end she has all of it ({len(said)} characters)")
        self._check(
            stage.alice.messages == stage.bob.messages == carol.messages,
            f"all three hold the same conversation, {len(carol.messages)} messages, part by part",
        )

    async def _ask(self, index: int) -> None:
        question = self._stage.source.questions[index]
        self._narrator.say(f"Alice: {question}")
        before = self._stage.alice.last_run
        await self._stage.ask(question)
        for person in self._stage.people:
            await person.until(lambda p=person: _is_new(p, before and before.run_id), "the run start")

    async def _end(self) -> None:
        for person in self._stage.people:
            await person.until(
                lambda p=person: p.last_run is not None and p.last_run.status in TERMINAL, "the end"
            )
            run = person.last_run
            if run is not None and run.error is not None:
                raise CliError(f"{person.name} sees that the agent failed: {run.error.message}")

    def _said(self) -> str:
        run = self._stage.alice.last_run
        return self._stage.agent.replies.get(run.run_id, "") if run else ""

    def _streams(self, person: Participant, characters: int) -> bool:
        return _is_over(person) or len(person.reply_text()) >= characters

    def _check(self, passed: bool, text: str) -> None:
        check = Check(passed, text)
        self.checks.append(check)
        self._narrator.check(check)


def failures(checks: Sequence[Check]) -> list[str]:
    """Return the claims that did not hold."""
    return [check.text for check in checks if not check.passed]


def _is_new(person: Participant, before: str | None) -> bool:
    run = person.last_run
    return run is not None and run.run_id != before


def _is_over(person: Participant) -> bool:
    run = person.last_run
    return run is not None and run.status in TERMINAL
