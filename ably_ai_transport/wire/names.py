"""Names on the channel: message names and header keys.

Every message of a session carries its headers in two tiers: ``extras.ai.transport`` (run, step,
stream and identity headers, read by this library) and ``extras.ai.codec`` (the codec's own).
All header values are strings. A value that this release does not know never breaks a conversation: it reads
as the least that it can mean (an unknown ``status`` as ``streaming``, an unknown ``role`` as an agent's, an
unknown reason as an end that did not complete).

The names are those of the npm package ``@ably/ai-transport`` 0.8.0 (``constants.ts``).
"""

from typing import Final

AI_INPUT: Final = "ai-input"
"""Any input of a client: user messages, regenerate requests, tool results, approvals."""
AI_OUTPUT: Final = "ai-output"
"""Any output of an agent: text, reasoning, tool calls, data."""
RUN_START: Final = "ai-run-start"
RUN_SUSPEND: Final = "ai-run-suspend"
RUN_RESUME: Final = "ai-run-resume"
RUN_END: Final = "ai-run-end"
STEP_START: Final = "ai-step-start"
STEP_END: Final = "ai-step-end"
CANCEL: Final = "ai-cancel"

RUN_LIFECYCLE: Final = frozenset({RUN_START, RUN_SUSPEND, RUN_RESUME, RUN_END})
STEP_LIFECYCLE: Final = frozenset({STEP_START, STEP_END})

STREAM: Final = "stream"
"""``"true"`` for a message that grows by appends, ``"false"`` for a discrete one."""
STATUS: Final = "status"
"""The state of a streamed message: ``streaming``, ``complete`` or ``cancelled``."""
STREAM_ID: Final = "stream-id"
DISCRETE: Final = "discrete"
"""``"true"`` on each part of an atomic batch."""

RUN_ID: Final = "run-id"
INVOCATION_ID: Final = "invocation-id"
EVENT_ID: Final = "event-id"
CODEC_MESSAGE_ID: Final = "codec-message-id"
ROLE: Final = "role"

RUN_CLIENT_ID: Final = "run-client-id"
"""The client that owns the run: the widest of three client scopes."""
INPUT_CLIENT_ID: Final = "input-client-id"
"""The client whose input drives this invocation."""
STEP_CLIENT_ID: Final = "step-client-id"
"""The client whose input shaped this step: the narrowest scope."""

PARENT: Final = "parent"
FORK_OF: Final = "fork-of"
MSG_REGENERATE: Final = "msg-regenerate"
SUPERSEDES: Final = "supersedes"
INPUT_CODEC_MESSAGE_ID: Final = "input-codec-message-id"
STEER_CODEC_MESSAGE_IDS: Final = "steer-codec-message-ids"

AGENT_ANNOUNCED: Final = "agent-announced"
"""``"true"`` on the start or resume of a run, or the start of a step, if the agent announces its runs: it is
present on the channel as long as it works on them. The npm package ignores it."""

RUN_REASON: Final = "run-reason"
ERROR_CODE: Final = "error-code"
ERROR_MESSAGE: Final = "error-message"

STEP_ID: Final = "step-id"
STEP_START_SERIAL: Final = "step-start-serial"
STEP_REASON: Final = "step-reason"
