"""Benchmarks, side by side with a peer in the same run. Ratios count; figures depend on the machine."""
