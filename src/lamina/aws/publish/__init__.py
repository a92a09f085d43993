"""Publish layers: plan from the current state in AWS, then apply."""
