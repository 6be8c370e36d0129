"""The time of ``import ably_ai_transport``, against starting Python alone."""

import subprocess
import sys
import time

from benchmarks.measure import median_of, table

ROUNDS = 9


def spent(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def main() -> None:
    """Run the benchmark and print it."""
    found: dict[str, list[float]] = {
        "pass": [],
        "import pydantic": [],
        "import ably": [],
        "import ably_ai_transport": [],
    }
    for _ in range(ROUNDS):
        for code, times in found.items():
            times.append(spent(code))
    bare = median_of(found["pass"])
    rows = [["", "ms", "ms beyond start-up"]]
    rows += [
        [code, f"{median_of(times) * 1000:.0f}", f"{(median_of(times) - bare) * 1000:.0f}"]
        for code, times in found.items()
    ]
    table(f"Import: median of {ROUNDS} processes", rows)


if __name__ == "__main__":
    main()
