"""Find and read lock files of six formats as ``packaging.pylock.Pylock``, and select the artifacts for a target."""
