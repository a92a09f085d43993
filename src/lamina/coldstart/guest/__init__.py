"""Modules that run inside a function's process while it is measured, on Python 3.9 or later. They import no module that a handler might import."""
