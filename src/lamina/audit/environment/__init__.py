"""Compare an environment of Python with the layers of a service."""
