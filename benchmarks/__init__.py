"""Benchmarks: whole tables, side by side in one run, never tests."""
