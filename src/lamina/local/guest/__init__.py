"""
Modules that are copied into the function's ``/var/runtime``.

They run under the function's interpreter, on Python 3.9 or later, and import nothing from lamina's other packages.
"""
