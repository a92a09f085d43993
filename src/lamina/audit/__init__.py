"""Look into what was built, and what it is deployed with: the rules of `lamina check`."""
