"""The zip format, read as hostile and written the same everywhere."""
