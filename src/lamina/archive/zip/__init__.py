"""Read zips as untrusted input, and write zips that are identical on every machine."""
