"""
Modules that run inside a function's process while it is measured, on Python 3.9 or later.

They import only modules that Python has already loaded or that need no file, so that they do not change the measured imports.
"""
