"""Policies: which clients a run listens to."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, cast

from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InboundMessage,
    InvalidArgumentError,
    NotAllowedError,
    names,
)

RequestKind: TypeAlias = Literal["cancel", "steer", "tool_result", "approval", "resume", "regenerate"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A client's request to a run.

    Attributes:
        kind: The rule of the policy that decides about it.
        message: The channel message that carried it; its ``client_id`` is verified.
        run_id: The run; for ``regenerate`` the run whose reply is to be replaced.
        owner: The client whose input triggered the run, as Ably verified it; None where it is not known.
    """

    kind: RequestKind
    message: InboundMessage
    run_id: str
    owner: str | None

    @property
    def client_id(self) -> str | None:
        """The client that asks, as Ably verified it; None for an anonymous one."""
        return self.message.client_id


Rule: TypeAlias = Literal["anyone", "owner"] | Callable[[RunRequest], bool | Awaitable[bool]]
"""``anyone``, ``owner``, or a plain or coroutine function that returns True to allow a request."""


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """The clients that a run listens to: one rule for each kind of request.

    ``"anyone"`` allows each client, as the npm package does. ``"owner"`` allows the client that published the
    input which triggered the run, by its verified id; it allows no anonymous client.

    Attributes:
        cancel: To stop the run.
        steer: To speak into the run.
        tool_result: To answer a tool call, by a result, an error or a fork.
        approval: To approve or deny a tool call.
        resume: To let a suspended run go on: the input that an invocation names.
        regenerate: To ask for another reply in place of one of the run's.

    Example:
        >>> policy = RunPolicy(approval="owner", cancel=lambda request: request.client_id == "moderator")
        >>> policy.approval, policy.steer
        ('owner', 'anyone')
    """

    cancel: Rule = "anyone"
    steer: Rule = "anyone"
    tool_result: Rule = "anyone"
    approval: Rule = "anyone"
    resume: Rule = "anyone"
    regenerate: Rule = "anyone"

    def __post_init__(self) -> None:
        for field in fields(self):
            rule: object = getattr(self, field.name)
            if rule not in ("anyone", "owner") and not callable(rule):
                raise InvalidArgumentError(
                    f"unable to use policy; {field.name} must be 'anyone', 'owner' or a function,"
                    f" got {rule!r}"
                )

    def rule(self, kind: RequestKind) -> Rule:
        """Return the rule for a kind of request."""
        return cast("Rule", getattr(self, kind))

    @property
    def allows_all(self) -> bool:
        """Whether each rule allows anyone."""
        return all(getattr(self, field.name) == "anyone" for field in fields(self))

    @classmethod
    def owner_only(cls) -> "RunPolicy":
        """Return a policy that allows everything to the owner, and nothing to others."""
        return cls("owner", "owner", "owner", "owner", "owner", "owner")


KIND_OF_INPUT: Final[Mapping[str, RequestKind]] = MappingProxyType(
    {
        "tool-result": "tool_result",
        "tool-result-error": "tool_result",
        "tool-approval-response": "approval",
    }
)
"""The rule for each kind of input into a run; any other kind steers it."""

_ACTIONS: Final[Mapping[RequestKind, str]] = MappingProxyType(
    {
        "cancel": "cancel",
        "steer": "steer",
        "tool_result": "answer a tool call of",
        "approval": "decide about a tool call of",
        "resume": "resume",
        "regenerate": "replace a reply of",
    }
)


def target_of(message: InboundMessage) -> tuple[RequestKind, str] | None:
    """Tell which run an input is for.

    Args:
        message: Any message of the channel.

    Returns:
        The rule that decides about the input, and the run; None where the message is for no run.
    """
    if message.name != names.AI_INPUT:
        return None
    headers = message.transport_headers
    run_id = headers.get(names.RUN_ID) or headers.get(names.SUPERSEDES)
    if not run_id:
        return None
    kind = message.codec_headers.get("kind") or message.codec_headers.get("type") or ""
    return KIND_OF_INPUT.get(kind, "steer"), run_id


Report: TypeAlias = Callable[[AITransportError], None]


def decide(policy: RunPolicy, request: RunRequest, report: Report) -> bool | Awaitable[bool]:
    """Decide about a request. An exception in a function is reported, and refuses the request.

    Args:
        policy: The policy.
        request: The request.
        report: Called with an exception, wrapped.

    Returns:
        Whether it is allowed; an awaitable of that where the rule is a coroutine function.
    """
    rule = policy.rule(request.kind)
    if rule == "anyone":
        return True
    if rule == "owner":
        return request.owner is not None and request.client_id == request.owner
    try:
        answer = rule(request)
    except Exception as error:  # noqa: BLE001 - a user's code
        report(_failed(request, error))
        return False
    return _settle(answer, request, report) if inspect.isawaitable(answer) else answer is True


async def ask(policy: RunPolicy, request: RunRequest, report: Report) -> bool:
    """Decide as :func:`decide` does, and wait for the answer."""
    answer = decide(policy, request, report)
    return answer if isinstance(answer, bool) else await answer


async def _settle(answer: Awaitable[bool], request: RunRequest, report: Report) -> bool:
    try:
        return await answer is True
    except Exception as error:  # noqa: BLE001 - a user's code
        report(_failed(request, error))
        return False


def _failed(request: RunRequest, error: Exception) -> AITransportError:
    action = f"decide whether a client may {_ACTIONS[request.kind]} run {request.run_id}"
    return AITransportError.wrap(action, error, ErrorCode.CANCEL_LISTENER_ERROR)


def refusal(request: RunRequest) -> NotAllowedError:
    """Describe the refusal of a request."""
    who = "an anonymous client" if request.client_id is None else f"client {request.client_id!r}"
    return NotAllowedError(
        f"unable to {_ACTIONS[request.kind]} run {request.run_id}; the policy does not allow {who} to",
        client_id=request.client_id,
    )
