"""
Run programs that end with lamina, however it ends: handlers, commands, build backends, installers and the sandbox.

``supervisor`` runs in a process of its own, between lamina and the program. It imports nothing from lamina's other packages.
"""
