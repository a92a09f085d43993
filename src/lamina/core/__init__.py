"""Values, errors, targets, the store and the reporter. This package imports no other package of lamina."""
