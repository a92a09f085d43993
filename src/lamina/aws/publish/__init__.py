"""Publish layers: plan from what AWS has, then apply."""
