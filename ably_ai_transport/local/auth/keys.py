"""API keys."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ably_ai_transport.local.auth.capability import EVERYTHING, Capability
from ably_ai_transport.local.protocol.serials import random_id

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key of an app. Its text form and its `repr` leave the secret out; `full` has it.

    Attributes:
        name: `<app>.<key>`; tokens carry it.
        secret: It signs tokens and token requests.
        capability: The operations that it grants.
        revocable: Whether tokens made under it can be revoked.
    """

    name: str
    secret: str = field(repr=False)
    capability: Capability = EVERYTHING
    revocable: bool = False

    @property
    def app_id(self) -> str:
        """The app that the key belongs to."""
        return app_id_of(self.name)

    @property
    def full(self) -> str:
        """The whole key, `app.key:secret`, as SDKs take it."""
        return f"{self.name}:{self.secret}"


def parse_key(text: str) -> ApiKey:
    """Parse a key as SDKs take it.

    Raises:
        ValueError: It does not look like `app.key:secret`.
    """
    name, _, secret = text.partition(":")
    if not name or not secret:
        raise ValueError("an API key must look like app.key:secret")
    return ApiKey(name, secret)


def keys_of(texts: Sequence[str]) -> tuple[ApiKey, ...]:
    """Return the given keys, or one generated key when there are none.

    Raises:
        ValueError: A key does not look like `app.key:secret`.
    """
    if not texts:
        return (ApiKey(f"local.{random_id(6)}", secrets.token_urlsafe(32)),)
    return tuple(parse_key(text) for text in texts)


def app_id_of(key_name: str) -> str:
    """Return the app in the name of a key."""
    return key_name.partition(".")[0]
