"""Values, errors, the target, the store and the reporter. Imports nothing else of lamina."""
