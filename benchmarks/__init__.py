"""Measurements, side by side with a peer in the same run: ratios count, figures are the machine's."""
