"""
Modules that run outside lamina's own process. They import nothing from the other packages of lamina.

``supervisor`` runs under lamina's interpreter and creates the function's environment.
``bootstrap`` and ``runtime_client`` are copied into the function's ``/var/runtime``. They run under its interpreter, on Python 3.9 or later.
"""
