"""Traces and metrics of sessions, with OpenTelemetry.

:func:`instrument` switches them on. It needs the extra `otel`: `pip install "ably-ai-transport[otel]"`.
"""

from typing import TYPE_CHECKING

from ably_ai_transport.session.telemetry import install

try:
    from ably_ai_transport.telemetry.propagation import extract
    from ably_ai_transport.telemetry.sessions import OpenTelemetry
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "opentelemetry":
        raise
    raise ModuleNotFoundError(
        'unable to import telemetry; no opentelemetry-api (pip install "ably-ai-transport[otel]")',
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider


def instrument(
    *,
    tracer_provider: "TracerProvider | None" = None,
    meter_provider: "MeterProvider | None" = None,
    links_only: bool = False,
) -> None:
    """Trace and measure the sessions that are opened from now on.

    Inputs, requests and starts of runs then carry their trace context in the headers of their messages, which
    everybody on the channel can read.

    Args:
        tracer_provider: Makes the spans; the global provider by default.
        meter_provider: Makes the instruments; the global provider by default.
        links_only: Whether a run only links to the span that its input was sent in, instead of being a part
            of the client's trace. For channels on which anybody may publish: a client can then neither choose
            the trace of a run nor whether it is sampled.

    Example:
        >>> from ably_ai_transport.telemetry import instrument
        >>> instrument()
    """
    install(OpenTelemetry(tracer_provider, meter_provider, links_only=links_only))


def uninstrument() -> None:
    """Neither trace nor measure sessions that are opened from now on."""
    install(None)


__all__ = ["extract", "instrument", "uninstrument"]
