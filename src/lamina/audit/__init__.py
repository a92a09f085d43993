"""Look into what was built, and what it is deployed with: `lamina check`, `audit`, `inspect` and `diff`."""
