"""REST requests and replies: credentials, formats, paths, errors."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response

from ably_ai_transport.local.auth.credentials import Credentials
from ably_ai_transport.local.protocol.formats import Format, dump, load, transcode
from ably_ai_transport.local.protocol.refusals import RefusedError, too_large

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from ably_ai_transport.local.protocol.frames import Value


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a route, before it is encoded.

    Attributes:
        body: The body; None for none.
        status: The HTTP status.
        links: Links to other pages by their relation.
        refusal: The error for the headers, when the body holds more than an error.
    """

    body: object
    status: int = 200
    links: Mapping[str, str] | None = None
    refusal: RefusedError | None = None


def credentials_of(request: Request) -> Credentials:
    """Return the credentials of a request: a key or a token, from the header or the query.

    Raises:
        RefusedError: 40101, the Authorization header is malformed.
    """
    params = request.query_params
    client_id = _client_id(request)
    header = request.headers.get("authorization")
    if header:
        scheme, _, value = header.partition(" ")
        value = value.strip()
        if scheme.lower() == "basic":
            return Credentials(key=_unbase64(value), client_id=client_id)
        if scheme.lower() == "bearer":
            # Ably's SDKs send the token in base64; other clients send it plain.
            token = value if value.count(".") == 2 else _unbase64(value)
            return Credentials(token=token, client_id=client_id)
        raise RefusedError(40101, 401, "unsupported authorization scheme (use Basic or Bearer)")
    return Credentials(
        key=params.get("key"),
        token=params.get("access_token") or params.get("accessToken"),
        client_id=client_id,
    )


async def body_of(request: Request, limit: int) -> Value:
    """Return the decoded body.

    Args:
        request: The request.
        limit: The largest size in bytes.

    Raises:
        RefusedError: 40000, it does not match its Content-Type; 40009, it is too large.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_large(size, limit)
        parts.append(part)
    raw = b"".join(parts)
    if not raw:
        return None
    is_msgpack = "msgpack" in request.headers.get("content-type", "")
    return load(raw, "msgpack" if is_msgpack else "json")


def is_simple(request: Request) -> bool:
    """Tell whether a browser sends such a body to another origin without a preflight."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind not in ("application/json", "application/x-msgpack")


def respond(request: Request, reply: Reply | RefusedError) -> Response:
    """Encode a reply in the format that the client accepts: msgpack, JSON, or JSON in an envelope."""
    headers: dict[str, str] = {}
    if isinstance(reply, RefusedError):
        status = reply.status
        body: object = {"error": reply.to_wire()}
        headers |= _error_headers(reply)
    else:
        status, body = reply.status, reply.body
        if reply.refusal is not None:
            headers |= _error_headers(reply.refusal)
        if reply.links:
            headers["Link"] = ", ".join(f'<{url}>; rel="{rel}"' for rel, url in reply.links.items())
    accept = request.headers.get("accept", "")
    format_: Format = "msgpack" if "application/x-msgpack" in accept else "json"
    if request.query_params.get("format") in ("json", "msgpack"):
        format_ = "msgpack" if request.query_params["format"] == "msgpack" else "json"
    if request.query_params.get("envelope") == "json":
        # For browsers that cannot read the response headers.
        format_ = "json"
        lowered = {name.lower(): value for name, value in headers.items()}
        body = {"statusCode": status, "response": transcode(body, format_), "headers": lowered}
        status = 200
    if body is None:
        return Response(None, status, headers)
    media_type = "application/x-msgpack" if format_ == "msgpack" else "application/json"
    content = dump(transcode(body, format_), format_)
    return Response(content, status, headers, media_type)


def _error_headers(refusal: RefusedError) -> dict[str, str]:
    # Headers hold Latin-1 without control characters.
    printable = "".join(c if c.isprintable() else " " for c in refusal.message)
    message = " ".join(printable.split()).encode("latin-1", "replace").decode("latin-1")
    return {"X-Ably-Errorcode": str(refusal.code), "X-Ably-Errormessage": message}


def _client_id(request: Request) -> str | None:
    header = request.headers.get("x-ably-clientid")
    if header:
        return _unbase64(header)
    return request.query_params.get("clientId")


def _unbase64(value: str) -> str:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4)).decode()
    except ValueError as error:  # not ASCII, not base64, or not UTF-8 inside
        raise RefusedError(40101, 401, "credentials are not valid base64") from error
