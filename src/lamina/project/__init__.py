"""Read a project's configuration, workspace members, sources and ignore rules."""
