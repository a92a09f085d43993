"""Update functions in Lambda to their new code and layers: plan, then apply."""
