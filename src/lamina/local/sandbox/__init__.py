"""
An embedded AWS on loopback, for trying everything without an account: MiniStack, started and stopped by lamina.

It runs functions with its own interpreter, so it is started with one of the target's minor version, from a virtual environment with
nothing in it: what a function can import is then its layers, its package and the standard library. Its own packages stand apart.
"""
