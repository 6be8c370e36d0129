"""The conversation: a tree of inputs and runs built from channel messages, and windows on its branches."""

from ably_ai_transport.conversation.authors import Author
from ably_ai_transport.conversation.branches import Branches, BranchHandle, Move, Navigable
from ably_ai_transport.conversation.events import OutputFolded, TreeEvent, TreeUpdated, read_steer_stamp
from ably_ai_transport.conversation.folding import Delivery
from ably_ai_transport.conversation.lifecycle import TERMINAL, RunClaim, RunStatus, StepInfo
from ably_ai_transport.conversation.nodes import ConversationNode, InputNode, RunInfo, RunNode, run_info
from ably_ai_transport.conversation.pinned import Pinned
from ably_ai_transport.conversation.tree import REORDER_WINDOW_MS, Tree
from ably_ai_transport.conversation.trust import Received, TrustedAgents, TrustFilter
from ably_ai_transport.conversation.window import ViewState, ViewUpdated

__all__ = [
    "REORDER_WINDOW_MS",
    "TERMINAL",
    "Author",
    "BranchHandle",
    "Branches",
    "ConversationNode",
    "Delivery",
    "InputNode",
    "Move",
    "Navigable",
    "OutputFolded",
    "Pinned",
    "Received",
    "RunClaim",
    "RunInfo",
    "RunNode",
    "RunStatus",
    "StepInfo",
    "Tree",
    "TreeEvent",
    "TreeUpdated",
    "TrustFilter",
    "TrustedAgents",
    "ViewState",
    "ViewUpdated",
    "read_steer_stamp",
    "run_info",
]
