"""All that needs the target's interpreter: following imports, choosing modules, compiling them."""
