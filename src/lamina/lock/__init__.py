"""Lock files of every format, each read into one ``packaging.pylock.Pylock``."""
