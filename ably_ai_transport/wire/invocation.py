"""The invocation: the body that a client posts to an agent's endpoint to start a run."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from ably_ai_transport.wire.errors import AITransportError, ErrorCode, InvalidArgumentError
from ably_ai_transport.wire.session_name import check_session_name

_Id = Annotated[str, StringConstraints(min_length=1)]


class Invocation(BaseModel):
    """A request to an agent: a session, and the input on its channel to reply to.

    Usable as the type of a request body (FastAPI) or through :meth:`from_json`. Fields that a newer
    peer adds are ignored. The wire form is that of the npm package's ``InvocationData``.

    Attributes:
        input_event_id: The ``event-id`` of the input to reply to; ``inputEventId`` in JSON.
        session_name: The session, which is the name of its channel; ``sessionName`` in JSON.

    Example:
        >>> Invocation.from_json('{"inputEventId": "e1", "sessionName": "chat:1"}').session_name
        'chat:1'
    """

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    input_event_id: _Id
    session_name: Annotated[_Id, AfterValidator(check_session_name)]

    @classmethod
    def from_json(cls, body: object) -> Self:
        """Read an invocation from a request body.

        Args:
            body: JSON as text or bytes, parsed JSON, or an invocation.

        Returns:
            The invocation.

        Raises:
            AITransportError: The body is not JSON, lacks a field, or a field is not a non-empty
                string (40000); the message names the field.
            InvalidArgumentError: The session name begins with a channel qualifier.
        """
        try:
            if isinstance(body, str | bytes | bytearray):
                return cls.model_validate_json(body)
            return cls.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            refused = first.get("ctx", {}).get("error")
            if isinstance(refused, InvalidArgumentError):
                raise refused from error
            where = ".".join(str(part) for part in first["loc"]) or "body"
            raise AITransportError(
                f"unable to read invocation; {where}: {first['msg']}", ErrorCode.BAD_REQUEST, 400, error
            ) from error

    def to_json(self) -> dict[str, str]:
        """Return the JSON object that goes into the request's body.

        Returns:
            ``{"inputEventId": …, "sessionName": …}``; :meth:`from_json` reads it back.
        """
        return self.model_dump(by_alias=True)


InvocationData = Invocation
"""The wire form's name in the npm package; one class serves as both here."""
