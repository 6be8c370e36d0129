"""Durable AI sessions over Ably channels, wire-compatible with the npm package `@ably/ai-transport`."""
