"""
What runs outside lamina's own process; and nothing here imports the rest of lamina.

``supervisor`` runs under lamina's interpreter and builds the environment.
``bootstrap`` and ``runtime_client`` run under the function's, which may be any Python from 3.9 on, and are copied into its ``/var/runtime``.
"""
