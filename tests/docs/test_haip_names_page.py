"""The page of names is right: it has every name of the SDK, and each is there under its name here."""

import importlib.util
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final, NamedTuple

import ably_ai_transport_haip
import pytest
from ably_ai_transport_haip import (
    HaipClient,
    HaipError,
    HaipTransport,
    WebSocketTransport,
    create_haip_client,
    flow,
    utils,
)

ROOT: Final = Path(__file__).parents[2]
# The names of the SDK's reference and of its flow-control guide, as they are written there.
NAMES: Final = """
createHAIPClient: (config)
HAIPClientConfig: url token transport? flowControl? maxConcurrentRuns? maxReconnectAttempts?
    reconnectDelay? heartbeatInterval? options?
HAIPFlowControlConfig: initialCredits? initialCreditBytes? maxCredits? maxCreditBytes?
HAIPClient: connect() disconnect() isConnected() startRun(threadId?,metadata?)
    finishRun(runId,status?,summary?) cancelRun(runId)
    sendTextMessage(channel,text,author?,runId?,threadId?) sendMessage(message,options?) sendBinary(data)
    callTool(channel,tool,params?,runId?,threadId?)
    updateTool(channel,callId,status,progress?,partial?,runId?,threadId?)
    completeTool(channel,callId,status?,result?,runId?,threadId?)
    cancelTool(channel,callId,reason?,runId?,threadId?) listTools(channel,tools,runId?,threadId?)
    getToolSchema(channel,tool,runId?,threadId?) sendFlowUpdate(channel,addMessages?,addBytes?)
    pauseChannel(channel) resumeChannel(channel) requestReplay(fromSeq,toSeq?)
    sendAudioChunk(channel,messageId,mime,data,durationMs?,runId?,threadId?) getConnectionState()
    getPerformanceMetrics() getActiveRuns() getRun(runId) on("connect",listener)
    on("disconnect",listener) on("handshake",listener) on("message",listener) on("binary",listener)
    on("error",listener)
HAIPClientEvents: connect disconnect handshake message binary error
HAIPMessageOptions: -
HAIPMessage: type payload envelope?
HAIPEnvelope: session_id? run_id? thread_id? channel? sequence? timestamp? ack?
HAIPEventType: HAI PING PONG RUN_STARTED RUN_FINISHED RUN_CANCEL RUN_ERROR MESSAGE_START MESSAGE_PART
    MESSAGE_END AUDIO_CHUNK TOOL_CALL TOOL_UPDATE TOOL_DONE TOOL_CANCEL TOOL_LIST TOOL_SCHEMA FLOW_UPDATE
    PAUSE_CHANNEL RESUME_CHANNEL REPLAY_REQUEST ERROR
HAIPChannel: USER AGENT SYSTEM AUDIO_IN AUDIO_OUT
HAIPUtils: createMessage(type,payload,envelope?) createTextMessage(channel,text,author?,runId?,threadId?)
    createToolCall(channel,tool,params?,runId?,threadId?)
    createFlowUpdate(channel,addMessages?,addBytes?) validateMessage(message) validateEnvelope(envelope)
    generateUUID() generateTimestamp() generateSequenceNumber() parseJWT(token) parseBase64(data)
    encodeBase64(data) calculateMessageCredits(message) calculateByteCredits(data)
    arrayBufferToBase64(buffer) base64ToArrayBuffer(base64) stringToArrayBuffer(str)
    arrayBufferToString(buffer) debounce(func,wait) throttle(func,limit)
    exponentialBackoff(attempt,baseDelay,maxDelay)
HAIPConstants: PROTOCOL_VERSION DEFAULT_CREDITS DEFAULT_CREDIT_BYTES DEFAULT_HEARTBEAT_INTERVAL
    DEFAULT_RECONNECT_DELAY DEFAULT_MAX_RECONNECT_ATTEMPTS DEFAULT_MAX_CONCURRENT_RUNS
    WEBSOCKET_READY_STATE CONNECTING OPEN CLOSING CLOSED
HAIPConnectionState: connected handshakeCompleted sessionId lastAck reconnectAttempts credits byteCredits
HAIPPerformanceMetrics: messagesSent messagesReceived bytesSent bytesReceived connectionTime lastUpdated
HAIPRun: id threadId? metadata? status startTime endTime? summary?
HAIPTool: name description parameters? returns?
HAIPToolCall: call_id tool params?
HAIPToolResult: call_id status result? error?
HAIPTransport: connect() disconnect() send(data) isConnected() on("connect",listener)
    on("disconnect",listener) on("message",listener) on("binary",listener) on("error",listener)
HAIPTransportEvents: connect disconnect message binary error
WebSocketTransport: (url,token,options?) connect() disconnect() send(data) isConnected()
SSETransport: (config) connect() disconnect() send(data) isConnected()
HTTPStreamingTransport: (config) connect() disconnect() send(data) isConnected()
WebSocketTransportOptions: maxReconnectAttempts? reconnectDelay? heartbeatInterval? binaryType?
SSETransportOptions: maxReconnectAttempts? reconnectDelay? withCredentials? headers?
HTTPStreamingTransportOptions: maxReconnectAttempts? reconnectDelay? timeout? headers?
HAIPTransportConfig: -
HAIPError: (message,code?,details?) code details
HAIPConnectionError: (message,details?)
HAIPAuthenticationError: (message,details?)
HAIPFlowControlError: (message,details?)
FlowControlMonitor: (client) handleFlowUpdate(message) logFlowState()
ChannelManager: (client) isChannelPaused(channel) sendWithChannelCheck(channel,messageFn)
    queueMessage(channel,messageFn)
CreditAwareQueue: (client) enqueue(channel,messageFn) processQueue(channel) getQueueLength(channel)
    clearQueue(channel)
MockFlowControl: () consumeCredits(channel,messageCredits?,byteCredits?)
    addCredits(channel,messageCredits?,byteCredits?) getCredits(channel)
FlowControlMetrics: () recordCreditRequest() recordCreditReceived(amount) recordMessageBlocked(waitTime)
    getMetrics() reset() creditRequests creditReceived messagesBlocked averageWaitTime totalWaitTime
    creditUtilization
AutomaticFlowControl: (client) ensureCredits(channel)
ConservativeFlowControl: (client)
AggressiveFlowControl: (client)
AdaptiveFlowControl: (client)
"""
# The parameters that have another name here, because it would hide a built-in or says nothing.
PARAMETERS: Final = {"str": "text", "messageFn": "send"}


class Row(NamedTuple):
    sdk: str
    ours: str


def names() -> list[str]:
    """Return the names of the SDK, with the parameters of those that are called."""
    owner, found = "", list[str]()
    for word in NAMES.split():
        if word.endswith(":"):
            owner = word.removesuffix(":")
        elif word == "-":
            found.append(owner)
        else:
            found.append(f"{owner}{word}" if word.startswith("(") else f"{owner}.{word}")
    return found


def rows() -> list[Row]:
    page = (ROOT / "docs" / "haip-names.md").read_text(encoding="utf-8")
    return [
        Row(sdk.replace(", ", ","), ours.strip("`"))
        for sdk, ours in re.findall(r"^\| `([^`]+)` \| (`[^`]+`|—) \|", page, re.MULTILINE)
    ]


def examples() -> ModuleType:
    path = ROOT / "examples" / "haip_flow_control.py"
    spec = importlib.util.spec_from_file_location("haip_flow_control", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def resolve(path: str) -> Any:  # noqa: ANN401 - anything
    """Return what a name here stands for."""
    places = {"utils": utils, "flow": flow, "examples": examples()}
    found: Any = SimpleNamespace(**{**vars(ably_ai_transport_haip), **places})
    for part in path.split("."):
        # The attributes of errors are set when one is made.
        found = getattr(found("…") if found is HaipError else found, part)
    return found


def snake(name: str) -> str:
    name = name.replace("UUID", "Uuid").replace("JWT", "Jwt")
    return name if name.isupper() else re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def test_every_name_of_the_sdk_is_on_the_page_once() -> None:
    assert [row.sdk for row in rows()] == names()


def test_only_what_has_no_meaning_here_is_missing() -> None:
    assert [row.sdk for row in rows() if row.ours == "—"] == ["WebSocketTransportOptions.binaryType?"]


CALLS: Final = [row for row in rows() if "(" in row.sdk and ".on(" not in row.ours]


@pytest.mark.parametrize("row", CALLS, ids=lambda row: row.sdk)
def test_what_is_called_takes_the_parameters_of_the_sdk(row: Row) -> None:
    path, _, written = row.ours.removesuffix(")").partition("(")
    called = resolve(path)
    parameters = [p for p in inspect.signature(called).parameters.values() if p.name != "self"]
    listed = [name for name in written.split(", ") if name]
    assert [p.name for p in parameters][: len(listed)] == listed
    for parameter in parameters[len(listed) :]:
        assert parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD
    if row.sdk in COUNTERPARTS:
        return
    theirs = [name for name in row.sdk.removesuffix(")").partition("(")[2].split(",") if name]
    assert listed == [PARAMETERS.get(name, snake(name.removesuffix("?"))) for name in theirs]
    for name, parameter in zip(theirs, parameters, strict=False):
        if name.endswith("?"):
            assert parameter.default is not parameter.empty


# Methods of samples whose counterpart here works in another way.
COUNTERPARTS: Final = (
    "FlowControlMonitor.handleFlowUpdate(message)",
    "ChannelManager.queueMessage(channel,messageFn)",
    "CreditAwareQueue.processQueue(channel)",
)
VALUES: Final = [row for row in rows() if "(" not in row.ours and row.ours != "—"]


@pytest.mark.parametrize("row", VALUES, ids=lambda row: row.sdk)
def test_fields_and_values_are_there(row: Row) -> None:
    path, _, key = row.ours.partition('["')
    value = resolve(path)
    if key:
        assert key.removesuffix('"]') in value
    member = row.sdk.removesuffix("?").rpartition(".")[2]
    if row.sdk.startswith(("HAIPEventType", "HAIPChannel")):
        assert value == member
    elif not key and "." in row.sdk and member != "withCredentials":
        assert row.ours.rpartition(".")[2] == snake(member)


EVENTS: Final = [row for row in rows() if ".on(" in row.ours]


@pytest.mark.parametrize("row", EVENTS, ids=lambda row: row.sdk)
def test_events_have_listeners(row: Row) -> None:
    of: dict[str, Callable[[], HaipClient | HaipTransport]] = {
        "HaipClient": lambda: create_haip_client(url="ws://localhost", token="t"),
        "HaipTransport": lambda: WebSocketTransport("ws://localhost", "t"),
    }
    owner, event = re.findall(r'^(\w+)\.on\("(\w+)", listener\)$', row.ours)[0]
    listen: Any = of[owner]().on
    listen(event, print)()
