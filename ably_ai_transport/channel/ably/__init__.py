"""Channels of the Ably SDK: the one place that touches the ``ably`` package."""
