"""Codecs made of tables: rows, their fields, and the encoder and decoder that follow them."""
