"""Build layers from segments in a bucket, without downloading their wheels."""
