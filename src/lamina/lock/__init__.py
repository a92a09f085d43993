"""Lock files of six formats, each read into one ``packaging.pylock.Pylock``, and what a target takes of it."""
