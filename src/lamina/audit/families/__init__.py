"""The rules that only `lamina check` has: one module or folder for each family."""
