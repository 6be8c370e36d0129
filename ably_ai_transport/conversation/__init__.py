"""The conversation: a tree of inputs and runs built from channel messages, and windows on its branches."""

from ably_ai_transport.conversation.branches import Branches, BranchHandle, Navigable
from ably_ai_transport.conversation.events import OutputFolded, TreeEvent, TreeUpdated
from ably_ai_transport.conversation.leaf import Pinned
from ably_ai_transport.conversation.nodes import (
    ConversationNode,
    InputNode,
    RunInfo,
    RunNode,
    RunStatus,
    StepInfo,
)
from ably_ai_transport.conversation.tree import Tree
from ably_ai_transport.conversation.view import ViewState, ViewUpdated

__all__ = [
    "BranchHandle",
    "Branches",
    "ConversationNode",
    "InputNode",
    "Navigable",
    "OutputFolded",
    "Pinned",
    "RunInfo",
    "RunNode",
    "RunStatus",
    "StepInfo",
    "Tree",
    "TreeEvent",
    "TreeUpdated",
    "ViewState",
    "ViewUpdated",
]
