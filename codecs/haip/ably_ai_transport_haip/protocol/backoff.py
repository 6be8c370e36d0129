"""How long to wait before another attempt."""

import random


def exponential_backoff(attempt: int, base: float, most: float, jitter: float = 0.0) -> float:
    """Return how long to wait before an attempt to connect.

    Args:
        attempt: Which attempt it is, from 0 on.
        base: What to wait before the first, in seconds.
        most: What to wait at most, before the jitter.
        jitter: Up to how much to wait besides, at random.

    Returns:
        Seconds.

    Example:
        >>> [exponential_backoff(n, 1, 30) for n in range(6)]
        [1, 2, 4, 8, 16, 30]
    """
    return min(base * 2 ** min(attempt, 63), most) + (random.uniform(0, jitter) if jitter else 0)  # noqa: S311
