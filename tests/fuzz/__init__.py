"""Mutated requests over real HTTP: no answer of 500, no hang, no text in logs, metrics or Redis."""
