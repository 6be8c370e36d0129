"""The wire: frames, messages, serials, formats and refusals as Ably spells them."""
