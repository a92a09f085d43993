"""Destinations in AWS: an account in a region, its bucket, and the names and keys that lamina uses there."""
