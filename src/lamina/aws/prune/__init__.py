"""Delete layer versions and objects that are not used: plan, then apply."""
