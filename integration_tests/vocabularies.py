"""The codecs by name; the JavaScript side knows them by the same names."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from ably_ai_transport_openai import ResponsesCodec
from ably_ai_transport_vercel import UIMessageCodec

from ably_ai_transport.codec import TableCodec

CodecName: TypeAlias = Literal["vercel", "openai"]

CODECS: Final[Mapping[str, TableCodec[Any, Any, Any, Any, Any, Any, Any]]] = {
    "vercel": UIMessageCodec(),
    "openai": ResponsesCodec(),
}
