"""Vercel AI SDK UI messages as a codec for ably-ai-transport."""
