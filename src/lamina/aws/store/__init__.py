"""The team store: a bucket through which builds share the contents of their local stores."""
