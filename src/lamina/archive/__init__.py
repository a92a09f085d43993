"""Read wheels, splice them into segments, and write the zips of layers and function packages."""
