"""Bring functions to their code and layers: plan, then apply."""
