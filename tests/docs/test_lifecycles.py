"""The diagrams of the documentation are those of the code."""

from tests.support.diagrams import DIAGRAMS, PAGE, draw, renewed


def test_a_table_is_drawn() -> None:
    assert draw({("open", "end"): "closed", ("open", "go on"): "open"}, "open").splitlines() == [
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> open",
        "    open --> closed: end",
        "    open --> open: go on",
        "    closed --> [*]",
        "```",
    ]


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text("utf-8")
    assert all(diagram in page for diagram in DIAGRAMS.values()), "run python -m tests.support.diagrams"
    assert renewed(page) == page
