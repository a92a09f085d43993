"""Bytes: reading wheels, cutting them into segments, composing layers and function packages."""
