"""A few inputs for every parser; ``make fuzz`` tries many more."""

from pathlib import Path
from typing import Final

import pytest

from tests.fuzz.runner import Probe, fuzz, read_input, write_input
from tests.fuzz.table import TARGETS
from tests.fuzz.target import Target

INPUTS: Final = 25
SEED: Final = 1
CORPUS: Final = Path(__file__).parent / "corpus"

every_target = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


@every_target
def test_no_input_breaks_a_parser(target: Target) -> None:
    report = fuzz(target, seconds=120, first_seed=SEED, examples=INPUTS)
    assert report.executions
    failures = [f"{one.trace}\nsmallest input: {write_input(one.value)}" for one in report.findings.values()]
    assert not failures, "\n\n".join(failures)


@every_target
def test_inputs_that_broke_a_parser_once_do_so_no_more(target: Target) -> None:
    file = CORPUS / f"{target.name}.txt"
    with Probe(target) as probe:
        for line in file.read_text("utf-8").splitlines() if file.exists() else ():
            failure = probe.try_input(read_input(line))
            assert failure is None, f"{failure!r}: {line[:500]}"


def test_every_input_that_is_kept_belongs_to_a_target() -> None:
    assert {file.stem for file in CORPUS.glob("*.txt")} <= {one.name for one in TARGETS}


def test_targets_have_names_of_their_own() -> None:
    assert len({one.name for one in TARGETS}) == len(TARGETS)
