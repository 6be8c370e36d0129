"""Every target."""

from typing import Final

from tests.fuzz import (
    applications,
    conversations,
    haip,
    local_files,
    local_frames,
    local_requests,
    local_tokens,
    wire,
)
from tests.fuzz.target import Target

TARGETS: Final[tuple[Target, ...]] = (
    *wire.TARGETS,
    *conversations.TARGETS,
    *applications.TARGETS,
    *local_frames.TARGETS,
    *local_requests.TARGETS,
    *local_tokens.TARGETS,
    *local_files.TARGETS,
    *haip.TARGETS,
)
