"""Batch requests: publish to several channels, list their members (Ably specification RSC22, RSC24)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from ably_ai_transport.local.protocol.channels import split_name
from ably_ai_transport.local.protocol.frames import MessageAction
from ably_ai_transport.local.protocol.messages import parse_submission
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request
from ably_ai_transport.local.web.http import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ably_ai_transport.local.auth.credentials import Identity
    from ably_ai_transport.local.core.engine import Engine
    from ably_ai_transport.local.protocol.frames import Value

_COUNTED_SINCE: Final = 3
_MAX_CHANNELS: Final = 100


def batch_publish(engine: Engine, identity: Identity, body: Value, version: int) -> Reply:
    """Publish messages to several channels, for one specification or a list of them.

    Args:
        engine: The app.
        identity: The identity of the publisher.
        body: `{channels, messages}`, or a list of them.
        version: The API version of the client; before version 3, the reply has another shape.

    Raises:
        RefusedError: 40000, the specification is invalid.
    """
    specs = body if isinstance(body, list) else [body]
    if not specs:
        raise bad_request("a batch must hold a specification")
    results = [_publish_spec(engine, identity, spec) for spec in specs]
    if version >= _COUNTED_SINCE:
        counted = [_counted(outcomes) for outcomes in results]
        return Reply(counted if isinstance(body, list) else counted[0], status=201)
    flat = [outcome for outcomes in results for outcome in outcomes]
    if any("error" in outcome for outcome in flat):
        error = RefusedError(40020, 400, "Batched response includes errors")
        return Reply({"error": error.to_wire(), "batchResponse": flat}, status=400, refusal=error)
    return Reply(flat, status=201)


def is_batch(body: Value) -> bool:
    """Tell whether a body is a batch, not messages: those have a name or data and no channels."""
    specs = body if isinstance(body, list) else [body]
    return not specs or any(
        not isinstance(spec, dict) or "channels" in spec or not {"name", "data"} & spec.keys()
        for spec in specs
    )


def batch_presence(engine: Engine, identity: Identity, channels: str) -> Reply:
    """Return the members of several channels.

    Args:
        engine: The app.
        identity: The identity of the requester.
        channels: Their names, separated by commas.

    Raises:
        RefusedError: 40000, there are no channels or too many.
    """

    def members(name: str) -> dict[str, Any]:
        identity.capability.check(name, "presence")
        channel = engine.channels.find(name)
        return {"presence": channel.presence.members() if channel is not None else []}

    engine.commits.flush()
    return Reply(_counted(_each(engine, [name for name in channels.split(",") if name], members)))


def _publish_spec(engine: Engine, identity: Identity, spec: Value) -> list[dict[str, Any]]:
    if not isinstance(spec, dict):
        raise bad_request("the specification of a batch must be an object")
    names = spec.get("channels")
    messages = spec.get("messages")
    labels = names if isinstance(names, list) else [names]
    items = messages if isinstance(messages, list) else [messages]

    def publish(name: str) -> dict[str, Any]:
        submissions = [parse_submission(item) for item in items]
        if any(submission.action != MessageAction.CREATE for submission in submissions):
            raise bad_request("a batch can only create messages")
        outcome = engine.publish(name, identity, submissions)
        return {"messageId": outcome.message_id, "serials": outcome.serials}

    return _each(engine, labels, publish)


def _each(
    engine: Engine, labels: Sequence[Value], run: Callable[[str], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Run an operation on each channel; a refusal on one does not affect the others."""
    if not 0 < len(labels) <= _MAX_CHANNELS or not all(isinstance(label, str) for label in labels):
        raise bad_request(f"a batch must name 1 to {_MAX_CHANNELS} channels")
    outcomes: list[dict[str, Any]] = []
    for label in cast("Sequence[str]", labels):
        try:
            name, _ = split_name(label)
            outcomes.append({"channel": label, **run(name)})
        except RefusedError as refusal:
            engine.stats.refuse(refusal.code)
            outcomes.append({"channel": label, "error": refusal.to_wire()})
    return outcomes


def _counted(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    failures = sum("error" in outcome for outcome in outcomes)
    return {"successCount": len(outcomes) - failures, "failureCount": failures, "results": outcomes}
