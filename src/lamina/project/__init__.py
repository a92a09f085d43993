"""What the repository says: configuration, workspace members, sources and ignore rules."""
