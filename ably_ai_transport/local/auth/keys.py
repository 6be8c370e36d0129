"""API keys."""

from __future__ import annotations

from dataclasses import dataclass

from ably_ai_transport.local.auth.capability import EVERYTHING, Capability


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key of an app.

    Attributes:
        name: `<app>.<key>`; tokens carry it.
        secret: What signs tokens and token requests.
        capability: What it may do.
        revocable: Whether tokens made under it can be revoked.
    """

    name: str
    secret: str
    capability: Capability = EVERYTHING
    revocable: bool = False

    @property
    def app_id(self) -> str:
        """The app that the key belongs to."""
        return app_id_of(self.name)

    def __str__(self) -> str:
        """Return the whole key, as SDKs take it."""
        return f"{self.name}:{self.secret}"


def parse_key(text: str) -> ApiKey:
    """Read a key as SDKs take it.

    Raises:
        ValueError: It does not look like `app.key:secret`.
    """
    name, _, secret = text.partition(":")
    if not name or not secret:
        raise ValueError(f"an API key looks like app.key:secret, not {text!r}")
    return ApiKey(name, secret)


def app_id_of(key_name: str) -> str:
    """Return the app that a key's name tells."""
    return key_name.partition(".")[0]
