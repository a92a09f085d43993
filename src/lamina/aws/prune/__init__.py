"""Delete unused layer versions and bucket objects: plan, then apply."""
