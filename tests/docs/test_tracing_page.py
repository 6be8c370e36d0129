"""The page on tracing is right: its code runs, and its tables list what the library emits."""

import json
import re
from collections.abc import Generator, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry.metrics import Counter, Histogram, Meter, NoOpMeter, NoOpMeterProvider

from ably_ai_transport.telemetry.metrics import Metrics
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import Gated, agent, answer, client, said
from tests.support.pages import ROOT, Page, run_as_typed
from tests.telemetry.seen import Seen, id_of, linked, observed

PAGE = Page(ROOT / "docs" / "tracing.md")
TEXT = PAGE.path.read_text(encoding="utf-8")


@pytest.fixture
def seen() -> Generator[Seen]:
    with observed() as seen:
        yield seen


PROGRAM = """
import asyncio
from tests.session.stage import agent, answer, client, said
from ably_ai_transport.testing import MemoryHub
from tracing import switch_on

async def main():
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        await answer(hub, session, run.to_invocation(), "hello")

provider = switch_on()
asyncio.run(main())
provider.shutdown()
"""


def table(heading: str) -> list[list[str]]:
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def test_what_is_imported_is_installed() -> None:
    assert [str(one) for one in PAGE.installed()] == ["ably-ai-transport[otel]", "opentelemetry-sdk"]
    metadata = distribution("ably-ai-transport")
    assert "otel" in (metadata.metadata.get_all("Provides-Extra") or [])


def test_the_program_prints_spans(tmp_path: Path) -> None:
    PAGE.write(tmp_path)
    (tmp_path / "main.py").write_text(f"import sys\nsys.path.append({str(ROOT)!r})\n{PROGRAM}", "utf-8")
    done = run_as_typed("python main.py", tmp_path)
    assert done.returncode == 0, done.stderr
    names = [json.loads(f"{text}\n}}")["name"] for text in done.stdout.split("\n}\n") if text.strip()]
    assert "invoke_agent" in names


async def test_a_follower_is_linked_to_the_run(seen: Seen) -> None:
    scope: dict[str, Any] = {}
    exec(compile(PAGE.files()["follower.py"], "follower.py", "exec"), scope)  # noqa: S102 - the page is ours
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        with seen.tracer.start_as_current_span("following") as span:
            async with client(hub, "bob") as bob:
                scope["link_runs"](bob, span)
                await answer(hub, session, run.to_invocation(), "hello")
    assert id_of(seen.one("invoke_agent")) in linked(seen.one("following"))


async def test_the_spans_are_those_of_the_page(seen: Seen) -> None:
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub) as session:
        with seen.tracer.start_as_current_span("caller"):
            run = await alice.view.send(said("hi"))
            source = Gated("one", "two")
            async with session.create_run(run.to_invocation()) as work, anyio.create_task_group() as tasks:
                tasks.start_soon(work.pipe, source.chunks())
                await source.reached.wait()
                await run.started
                await run.steer(said("shorter")).published
                await run.cancel()
    kinds = {span.name.partition(" ")[0]: span.kind.name.lower() for span in seen.spans}
    emitted = {(name, kind) for name, kind in kinds.items() if name != "caller"}
    listed = {(re.split(r"[` ]", row[0])[1], row[1]) for row in table("Spans")}
    assert emitted == listed


class Meters(NoOpMeterProvider):
    """Notes the instruments that are made."""

    def __init__(self) -> None:
        self.made: set[tuple[str, str]] = set()

    def get_meter(self, name: str, *_: object, **__: object) -> Meter:
        return NotingMeter(name, self.made)


class NotingMeter(NoOpMeter):
    def __init__(self, name: str, made: set[tuple[str, str]]) -> None:
        super().__init__(name)
        self._made = made

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Counter:
        self._made.add((name, unit))
        return super().create_counter(name, unit, description)

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> Histogram:
        self._made.add((name, unit))
        return super().create_histogram(name, unit, description)


def test_the_metrics_are_those_of_the_page() -> None:
    provider = Meters()
    Metrics(provider)
    assert provider.made == {(row[0].strip("`"), row[1]) for row in table("Metrics")}
