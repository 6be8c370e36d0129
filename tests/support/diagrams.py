"""Draws tables of transitions as diagrams.

``python -m tests.support.diagrams`` renews those of the documentation.
"""

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Final

from ably_ai_transport.codec import appends
from ably_ai_transport.conversation import lifecycle
from ably_ai_transport.session import connection
from ably_ai_transport.session.agent import publisher
from ably_ai_transport.session.agent import steps as agent_steps

PAGE: Final = Path(__file__).parents[2] / "docs" / "lifecycles.md"

State = str | Enum


def name_of(state: State) -> str:
    """Return how a state is called in a diagram."""
    return state.name.lower() if isinstance(state, Enum) else state


def draw(table: Mapping[tuple[State, str], State], first: State) -> str:
    """Draw a table.

    Args:
        table: What a trigger makes of a state.
        first: The state in the beginning.

    Returns:
        A Mermaid diagram, fenced.
    """
    triggers: dict[tuple[str, str], list[str]] = {}
    for (state, trigger), reached in table.items():
        triggers.setdefault((name_of(state), name_of(reached)), []).append(trigger)
    lines = [f"    {a} --> {b}: {', '.join(found)}" for (a, b), found in triggers.items()]
    last = sorted({b for _, b in triggers} - {a for a, _ in triggers})
    ends = [f"    {state} --> [*]" for state in last]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {name_of(first)}", *lines, *ends, "```"])


DIAGRAMS: Final[Mapping[str, str]] = {
    "run": draw({**lifecycle.RUN_TRANSITIONS}, "active"),
    "step": draw({**lifecycle.STEP_TRANSITIONS}, "active"),
    "stream": draw({**appends.TRANSITIONS}, appends.StreamPhase.STARTING),
    "agent run": draw({**publisher.TRANSITIONS}, "created"),
    "agent step": draw({**agent_steps.TRANSITIONS}, "initialized"),
    "session": draw({**connection.TRANSITIONS}, "idle"),
}


def renewed(page: str) -> str:
    """Put the diagrams into a page, each under the comment with its name."""
    for name, diagram in DIAGRAMS.items():
        page = re.sub(rf"(<!-- {name} -->\n)```mermaid\n.*?```", rf"\g<1>{diagram}", page, flags=re.DOTALL)
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
