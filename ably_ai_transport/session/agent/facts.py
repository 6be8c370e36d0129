"""The identity and the place of a run, as an agent knows them."""

from dataclasses import dataclass


@dataclass(slots=True)
class RunFacts:
    """The identity and the place of a run; completed when its triggering input is found.

    Attributes:
        run_id: The run.
        invocation_id: The agent's invocation.
        run_client_id: Client ID of the run's owner; None until known.
        input_client_id: Client ID of the publisher of the triggering input.
        input_codec_message_id: The triggering input.
        run_parent: The input that the run hangs under.
        output_parent: The message that outputs follow.
        fork_of: The message that the input replaces.
        regenerates: The message that the run replaces.
        continues: Whether the run was started before.
        announced: Whether the agent announces its runs.
    """

    run_id: str
    invocation_id: str
    run_client_id: str | None = None
    input_client_id: str | None = None
    input_codec_message_id: str | None = None
    run_parent: str | None = None
    output_parent: str | None = None
    fork_of: str | None = None
    regenerates: str | None = None
    continues: bool = False
    announced: bool = False
