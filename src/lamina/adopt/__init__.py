"""Adopt a layer of somebody else: require what is in it, build it from the lock file, and prove that nothing is missing."""
