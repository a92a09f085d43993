"""Handlers read events, logic decides, dal remembers."""
