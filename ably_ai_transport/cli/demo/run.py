"""The ``demo`` command."""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
from rich.console import Console
from rich.text import Text

from ably_ai_transport.cli.demo.built_in import built_in_replies
from ably_ai_transport.cli.demo.interactive import Interactive
from ably_ai_transport.cli.demo.keyboard import is_supported
from ably_ai_transport.cli.demo.model import Model
from ably_ai_transport.cli.demo.narrators import Lines, OnScreen
from ably_ai_transport.cli.demo.recordings import beside_the_checkout, read_replies
from ably_ai_transport.cli.demo.replies import Playback, ReplySource
from ably_ai_transport.cli.demo.screen import Screen
from ably_ai_transport.cli.demo.script import Check, Script, failures
from ably_ai_transport.cli.demo.stage import Stage, stage
from ably_ai_transport.cli.limits import LimitsChoice
from ably_ai_transport.cli.logs import log_to_file
from ably_ai_transport.cli.problems import INTERRUPTED, MISUSED, CliError

LONGEST_SECONDS = 120


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of the command.

    Attributes:
        script: Whether to play the prepared scenes, also in a terminal.
        recordings: A folder of recorded model streams.
        model: The model to ask if there is a key.
        speed: Factor by which known replies play faster.
        limits: The limits of the server.
        log: The file for the log; none by default, because the demo draws on the screen.
        verbose: Whether the log holds debug records, too.
    """

    script: bool = False
    recordings: Path | None = None
    model: str | None = None
    speed: float = 1.0
    limits: LimitsChoice = LimitsChoice.ABLY
    log: Path | None = None
    verbose: bool = False


async def run_demo(options: DemoOptions, console: Console | None = None) -> int:
    """Run the demo.

    Args:
        options: What the command was given.
        console: The output; standard output by default.

    Returns:
        The exit code.

    Raises:
        CliError: The options cannot be used.
    """
    if options.verbose and options.log is None:
        raise CliError("--verbose needs a file to log to here: add --log FILE.", MISUSED)
    console = console or Console(highlight=False)
    source = choose_replies(options, os.environ)
    _skip_proxies()
    code = INTERRUPTED
    with log_to_file(options.log, verbose=options.verbose):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_signal, tasks.cancel_scope)
            code = await _perform(options, console, source)
            tasks.cancel_scope.cancel()
    return code


def choose_replies(options: DemoOptions, env: Mapping[str, str]) -> ReplySource:
    """Choose the source of the agent's replies.

    In order: a folder on the command line, a model if there is a key for one, the folder in
    ``AIT_RECORDINGS``, a folder beside the checkout, built-in replies.

    Args:
        options: What the command was given.
        env: The environment.

    Returns:
        The source.

    Raises:
        CliError: The folder cannot be used.
    """
    model = Model.from_env(env, options.model)
    if options.recordings is None and model is not None:
        return model
    folder = options.recordings or (Path(named) if (named := env.get("AIT_RECORDINGS")) else None)
    found = folder or beside_the_checkout()
    built_in = built_in_replies()
    if found is not None:
        try:
            recorded = read_replies(found)
        except OSError as error:
            raise CliError(f"unable to read recordings: {error}", MISUSED) from error
        if recorded:
            # The scenes need three long replies.
            long = [reply for reply in recorded if reply.is_long]
            others = [reply for reply in recorded if not reply.is_long]
            label = f"{len(recorded)} recorded replies"
            return Playback(label, [*long, *built_in[len(long) :], *others], options.speed)
        if folder is not None:
            raise CliError(f"there are no recorded model streams of some length in {folder}", MISUSED)
    return Playback("built-in replies", built_in, options.speed)


def has_screen(console: Console) -> bool:
    """Return whether the output is a real terminal, whatever the environment forces."""
    return console.is_terminal and console.file.isatty() and not console.is_dumb_terminal


async def _perform(options: DemoOptions, console: Console, source: ReplySource) -> int:
    interactive = has_screen(console) and sys.stdin.isatty() and not options.script
    if interactive and not is_supported():
        console.print(
            Text("This terminal cannot be read key by key; here are the prepared scenes.", "yellow")
        )
        interactive = False
    async with stage(source, options.limits) as scene:
        if interactive:
            await Interactive(scene, console).run(sys.stdin.fileno())
            if scene.figures.tokens:
                console.print(scene.figures.table())
            return 0
        return await _play(scene, console)


async def _play(scene: Stage, console: Console) -> int:
    checks: list[Check] | None = None
    with anyio.move_on_after(LONGEST_SECONDS):
        checks = await (_play_on_screen if has_screen(console) else _play_in_lines)(scene, console)
    console.print()
    console.print(scene.figures.table())
    if checks is None:
        raise CliError(f"the demo did not end within {LONGEST_SECONDS} s")
    failed = failures(checks)
    if failed:
        raise CliError(f"{len(failed)} of {len(checks)} checks did not pass: {'; '.join(failed)}")
    console.print(Text(f"All {len(checks)} checks passed.", "bold green"))
    return 0


async def _play_in_lines(scene: Stage, console: Console) -> list[Check]:
    console.print(Text("ably-ai-transport demo", "bold"))
    console.print(f"  server   {scene.server.url}, Ably's protocol on this machine")
    console.print(f"  agent    {scene.agent_url}")
    console.print(f"  people   {' and '.join(person.name for person in scene.people)}")
    console.print(f"  replies  {scene.source.label}")
    script = Script(scene, Lines(console))
    await script.play()
    return script.checks


async def _play_on_screen(scene: Stage, console: Console) -> list[Check]:
    narrator = OnScreen(Screen(scene, console))
    script = Script(scene, narrator)
    try:
        async with narrator.screen.shown():
            await script.play()
    finally:
        for line in narrator.told:
            console.print(line)
    return script.checks


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    wanted = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    with anyio.open_signal_receiver(*wanted) as signals:
        async for _ in signals:
            scope.cancel()


def _skip_proxies() -> None:
    """Keep the Ably SDK from using a proxy for this machine."""
    for name in ("no_proxy", "NO_PROXY"):
        known = os.environ.get(name)
        os.environ[name] = f"{known},127.0.0.1" if known else "127.0.0.1"
