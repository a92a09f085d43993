"""
Modules that run in processes other than lamina's. They import nothing from lamina's other packages.

``supervisor`` runs under lamina's interpreter and creates the function's environment.
``bootstrap`` and ``runtime_client`` are copied into the function's ``/var/runtime``. They run under the function's interpreter, on Python 3.9
or later.
"""
