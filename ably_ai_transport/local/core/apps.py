"""The apps of a server: its default app, and those that test suites provision."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, cast

from ably_ai_transport.local.auth.capability import EVERYTHING, parse_capability
from ably_ai_transport.local.auth.credentials import WILDCARD, Identity
from ably_ai_transport.local.auth.keys import ApiKey, app_id_of
from ably_ai_transport.local.core.engine import Engine
from ably_ai_transport.local.core.steps import Publisher
from ably_ai_transport.local.options import Namespace
from ably_ai_transport.local.protocol.channels import split_name
from ably_ai_transport.local.protocol.parse import boolean, integer, text
from ably_ai_transport.local.protocol.presence import parse_presence
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request
from ably_ai_transport.local.protocol.serials import random_id
from ably_ai_transport.local.protocol.values import carried

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ably_ai_transport.local.protocol.frames import Value

_MAX_APPS: Final = 1000


class Apps:
    """Finds the app of a credential; provisions and deletes apps.

    The contract is the one of the test suites of Ably's SDKs: `POST /apps` with the `post_apps` object of
    ably-common's test-app-setup.json, `DELETE /apps/{id}` with a key of the app. With a durable storage, the
    provisioned apps are there again after a restart, with their keys and channels.
    """

    def __init__(self, default: Engine) -> None:
        self.default = default
        self._provisioned: dict[str, Engine] = {}

    def start(self) -> None:
        """Start the default app and those that an earlier process provisioned. Needs a running event loop.

        Raises:
            StorageUnusableError: The storage cannot be opened.
            StorageDamagedError: The storage has lost content.
        """
        self.default.start()
        for app_id, kept in self.default.storage.apps().items():
            app = _App.load(kept)
            engine = self._provisioned[app_id] = self._engine(app_id, app)
            engine.start(app.fixtures)

    def __iter__(self) -> Iterator[Engine]:
        """Iterate over all apps."""
        yield self.default
        yield from self._provisioned.values()

    def of(self, key_name: str | None) -> Engine:
        """Return the app of a key; the default app verifies unknown keys."""
        if key_name is None or not self._provisioned:
            return self.default
        return self._provisioned.get(app_id_of(key_name), self.default)

    def provision(self, spec: Value) -> dict[str, Value]:
        """Create an app with its own keys, rules and channels.

        Args:
            spec: `keys`, `namespaces`, `channels` with presence fixtures, `limits`.

        Returns:
            The app as Ably describes it: `appId`, `accountId`, the keys in order, and the namespaces.

        Raises:
            RefusedError: 40000, the description is invalid; 40114, there are too many apps; 50000, the app
                cannot be stored.
        """
        spec = carried(spec, "an app")
        if not isinstance(spec, dict):
            raise bad_request("an app must be described by an object")
        if len(self._provisioned) >= _MAX_APPS:
            raise RefusedError(40114, 403, f"unable to provision an app; there are {_MAX_APPS} already")
        app_id = random_id(6)
        keys = [_key(app_id, item) for item in _objects(spec, "keys")] or [_key(app_id, {})]
        namespaces = _objects(spec, "namespaces")
        app = _App(keys, [_namespace(item) for item in namespaces], _max_members(spec, self.default))
        channels = _objects(spec, "channels")
        app.fixtures = [random_id(10) for _ in channels]
        engine = self._engine(app_id, app)
        self.default.storage.save_app(app_id, app.dump())
        try:
            engine.start()
            for channel, connection_id in zip(channels, app.fixtures, strict=True):
                _fill(engine, keys[0], channel, connection_id)
            engine.commit()
        except RefusedError:
            engine.close()
            self.default.storage.forget_app(app_id)
            raise
        self._provisioned[app_id] = engine
        return {
            "id": app_id,
            "appId": app_id,
            "accountId": "local",
            "status": "enabled",
            "keys": [_describe(key) for key in keys],
            "namespaces": cast("Value", namespaces),
        }

    def delete(self, app_id: str, identity: Identity) -> None:
        """Delete an app; its connections end.

        Raises:
            RefusedError: 40400, it was not provisioned here; 40100, the key belongs to another app; 50000, it
                cannot be deleted from the storage.
        """
        engine = self._provisioned.get(app_id)
        if engine is None:
            raise RefusedError(40400, 404, f"unable to delete app {app_id!r}; it was not provisioned here")
        if app_id_of(identity.key_name) != app_id:
            raise RefusedError(40100, 401, "an app can only be deleted with one of its keys")
        engine.commit()
        self.default.storage.forget_app(app_id)
        del self._provisioned[app_id]
        engine.close()

    def close(self) -> None:
        """Close all apps; a later `start` knows those that are stored."""
        for engine in reversed(list(self)):  # the default app closes the storage of all
            engine.close()
        self._provisioned.clear()

    def _engine(self, app_id: str, app: _App) -> Engine:
        default = self.default
        options = replace(
            default.options,
            mutable_messages=False,
            namespaces=tuple(app.namespaces),
            limits=replace(default.options.limits, max_members=app.max_members),
        )
        return Engine(
            options,
            keys=app.keys,
            clock=default.clock,
            storage=default.storage.app(app_id),
            stats=default.stats,
            observers=default.observers,
        )


@dataclass(slots=True)
class _App:
    """A provisioned app, as it is stored."""

    keys: list[ApiKey]
    namespaces: list[Namespace]
    max_members: int
    fixtures: list[str] = field(default_factory=list[str])
    """The connections whose presence members never leave."""

    def dump(self) -> list[object]:
        """Return the app in a form for `load`."""
        return [
            [[key.name, key.secret, key.capability.to_json(), key.revocable] for key in self.keys],
            [[namespace.id, namespace.mutable_messages] for namespace in self.namespaces],
            self.max_members,
            self.fixtures,
        ]

    @classmethod
    def load(cls, fields: Sequence[Any]) -> _App:
        """Return the app from its dumped form."""
        keys, namespaces, max_members, fixtures = fields
        return cls(
            [
                ApiKey(name, secret, parse_capability(capability), revocable=revocable)
                for name, secret, capability, revocable in keys
            ],
            [Namespace(id=id_, mutable_messages=mutable) for id_, mutable in namespaces],
            max_members,
            fixtures,
        )


def _objects(spec: dict[str, Value], name: str) -> list[dict[str, Value]]:
    items = spec.get(name)
    if items is None:
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise bad_request(f"{name} of an app must be a list of objects")
    return cast("list[dict[str, Value]]", items)


def _key(app_id: str, item: dict[str, Value]) -> ApiKey:
    capability = item.get("capability")
    return ApiKey(
        f"{app_id}.{random_id(6)}",
        secrets.token_urlsafe(24),
        EVERYTHING if capability is None else parse_capability(capability),
        revocable=_flag(item, "revocableTokens"),
    )


def _describe(key: ApiKey) -> dict[str, Value]:
    return {
        "id": key.name.partition(".")[2],
        "value": key.secret,
        "keyName": key.name,
        "keySecret": key.secret,
        "keyStr": key.full,
        "capability": key.capability.to_json(),
        "revocableTokens": key.revocable,
        "status": 0,
    }


def _namespace(item: dict[str, Value]) -> Namespace:
    id_ = item.get("id")
    if not isinstance(id_, str) or not id_:
        raise bad_request("a namespace must have an id")
    return Namespace(id=id_, mutable_messages=_flag(item, "mutableMessages"))


def _max_members(spec: dict[str, Value], default: Engine) -> int:
    limits = spec.get("limits")
    presence = limits.get("presence") if isinstance(limits, dict) else None
    limit = presence.get("maxMembers") if isinstance(presence, dict) else None
    return default.options.limits.max_members if limit is None else integer(limit, "maxMembers", 0)


def _flag(item: dict[str, Value], name: str) -> bool:
    value = item.get(name)
    return value is not None and boolean(value, name)


def _fill(engine: Engine, key: ApiKey, item: dict[str, Value], connection_id: str) -> None:
    """Enter the presence fixtures of a channel, all from one connection that never leaves."""
    name, _ = split_name(text(item.get("name"), "the name of a channel"))
    members = _objects(item, "presence")
    if not members:
        return
    publisher = Publisher(Identity(key.name, WILDCARD, EVERYTHING), connection_id, f"{connection_id}:0")
    events: list[Value] = [{**member, "action": 2} for member in members]
    engine.channels.open(name).enter(publisher, parse_presence(events))
