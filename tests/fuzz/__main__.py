"""Fuzz every parser of the project: ``python -m tests.fuzz --help``."""

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence

from tests.fuzz.runner import Finding, Probe, Report, fuzz, read_input, signature_of, write_input
from tests.fuzz.table import TARGETS
from tests.fuzz.target import Target


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the targets, and report what failed.

    Returns:
        The exit code: 0 if no input failed, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("FUZZ_SECONDS") or 180))
    parser.add_argument("--seed", type=int, default=_seed())
    parser.add_argument(
        "--target", action="append", help="only targets whose name begins so; may be repeated"
    )
    parser.add_argument("--input", help="try this one input of the target")
    parser.add_argument("--list", action="store_true", help="list the targets")
    options = parser.parse_args(arguments)
    chosen = [one for one in TARGETS if not options.target or one.name.startswith(tuple(options.target))]
    if options.list:
        print("\n".join(one.name for one in chosen))
        return 0
    if not chosen:
        print(f"no target begins with {options.target}", file=sys.stderr)
        return 2
    if options.input is not None:
        return _try_one(chosen[0], options.input)
    print(f"{len(chosen)} targets, {options.seconds:.0f} seconds, FUZZ_SEED={options.seed}", flush=True)
    reports = [_run(one, options.seconds / len(chosen), options.seed) for one in chosen]
    findings = sum(len(report.findings) for report in reports)
    print(f"{sum(report.executions for report in reports):,} inputs, {findings} distinct failures")
    return 1 if findings else 0


def _seed() -> int:
    return int(os.environ.get("FUZZ_SEED") or random.randrange(1_000_000))  # noqa: S311


def _run(target: Target, seconds: float, seed: int) -> Report:
    report = fuzz(target, seconds=seconds, first_seed=seed)
    rate = report.executions / report.seconds if report.seconds else 0.0
    print(f"{target.name:28} {report.executions:9,} inputs {rate:9,.0f}/s", flush=True)
    for finding in report.findings.values():
        _show(finding)
    return report


def _show(finding: Finding) -> None:
    print(f"\n  FAILED {finding.count} times: {finding.signature}")
    print("    " + finding.trace.replace("\n", "\n    "))
    print(f"    smallest input: {write_input(finding.value)}\n", flush=True)


def _try_one(target: Target, text: str) -> int:
    started = time.monotonic()
    with Probe(target) as probe:
        failure = probe.try_input(read_input(text))
    print(f"{target.name}: {'passed' if failure is None else signature_of(failure)}")
    print(f"{time.monotonic() - started:.3f} s")
    if failure is not None:
        raise failure
    return 0


if __name__ == "__main__":
    sys.exit(main())
