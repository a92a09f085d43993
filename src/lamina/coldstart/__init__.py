"""Measure what a function's initialisation costs, and what each distribution adds to it."""
