"""Run a build end to end: resolve, fetch, splice, pack, check, and record."""
