"""Invalid codecs and options are refused at once."""

from typing import Any, cast

import pytest
from ably_ai_transport_openai import ResponsesCodec
from ably_ai_transport_vercel import UIMessageCodec

from ably_ai_transport.codec import EncoderCore, EncoderOptions, check_codec
from ably_ai_transport.wire import InvalidArgumentError
from tests.codec.fake_channel import FakeChannel


@pytest.mark.parametrize(
    ("codec", "reason"),
    [
        (UIMessageCodec, r"UIMessageCodec is a class \(pass an instance: UIMessageCodec\(\)\)"),
        ("vercel", "str is not a Codec"),
        (None, "NoneType is not a Codec"),
    ],
)
def test_what_is_no_codec_is_refused(codec: object, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        check_codec(codec)


def test_codecs_pass() -> None:
    check_codec(UIMessageCodec())
    check_codec(ResponsesCodec())


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None])
def test_a_window_that_is_no_window_is_refused(size: object) -> None:
    options = EncoderOptions(append_window=cast("Any", size))
    with pytest.raises(InvalidArgumentError, match=f"append_window is {size!r} "):
        EncoderCore(FakeChannel(), options)
    with pytest.raises(InvalidArgumentError, match="append_window"):
        UIMessageCodec().create_encoder(FakeChannel(), options)
