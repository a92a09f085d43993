"""Build layers from the segments that a bucket has, without their wheels."""
