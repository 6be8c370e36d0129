"""Backoff: the delay before the next attempt to connect."""

import random


def exponential_backoff(attempt: int, base_delay: float, max_delay: float, jitter: float = 0.0) -> float:
    """Return the delay before an attempt to connect.

    Args:
        attempt: The number of the attempt, from 0.
        base_delay: The delay before attempt 0, in seconds; it doubles with each attempt.
        max_delay: The largest delay without jitter, in seconds.
        jitter: The largest random addition, in seconds.

    Returns:
        The delay in seconds.

    Example:
        >>> [exponential_backoff(n, 1, 30) for n in range(6)]
        [1, 2, 4, 8, 16, 30]
    """
    return min(base_delay * 2 ** min(attempt, 63), max_delay) + (random.uniform(0, jitter) if jitter else 0)  # noqa: S311
