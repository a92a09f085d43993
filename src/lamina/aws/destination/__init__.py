"""Where lamina works in AWS: an account in a region, its bucket, and what everything is called there."""
