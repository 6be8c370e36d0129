"""The Ably-Agent string, in the form of all Ably SDKs: ``name/version name/version``."""

import platform
from collections.abc import MutableMapping, Sequence
from typing import Final

from ably_ai_transport.channel.ably.sdk import sdk
from ably_ai_transport.version import __version__

SDK_NAME: Final = "ai-transport-python"


def agent_string(agents: Sequence[tuple[str, str]] = ()) -> str:
    """Name this library, and the libraries that it is used with.

    Args:
        agents: Name and version of each, such as a codec's adapter.

    Returns:
        The value of a channel's ``params.agent``.

    Example:
        >>> agent_string([("my-codec", "1.0")]).split()[1]
        'my-codec/1.0'
    """
    known = {SDK_NAME: __version__, **dict(agents)}
    return " ".join(f"{name}/{version}" for name, version in known.items())


def identify(params: MutableMapping[str, str], agent: str) -> None:
    """Name the library on the next connections; the SDK has no option for it.

    Args:
        params: The transport parameters of a client, changed in place.
        agent: The names to add.
    """
    known = params.get("agent") or f"{sdk().agent} python/{platform.python_version()}"
    params["agent"] = merged(known, agent)


def merged(known: str, agent: str) -> str:
    """Add names to an agent string, each once."""
    names = known.split()
    return " ".join([*names, *(name for name in agent.split() if name not in names)])
