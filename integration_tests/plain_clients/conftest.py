"""Plain Ably clients in JavaScript, without sessions."""

import pytest


@pytest.fixture(params=[False, True], ids=["json", "msgpack"])
def binary(request: pytest.FixtureRequest) -> bool:
    """The wire format."""
    return request.param
