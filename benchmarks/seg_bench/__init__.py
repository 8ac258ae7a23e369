"""Measure artifacts: how right (seg-eval) and how fast (seg-bench)."""
