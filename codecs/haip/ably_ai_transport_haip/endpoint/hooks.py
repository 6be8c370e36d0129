"""Hooks: calls to functions of the application, plain or coroutine."""

import inspect
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


async def call(hook: Callable[P, T | Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a plain function or a coroutine function.

    Args:
        hook: The function.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.

    Returns:
        The result of the function, awaited if it is awaitable.
    """
    result = hook(*args, **kwargs)
    return await cast("Awaitable[T]", result) if inspect.isawaitable(result) else cast("T", result)
