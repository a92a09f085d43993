"""
Emulate AWS on loopback with MiniStack, so that publishing and deploying can be tried without an AWS account.

MiniStack runs functions with the interpreter that runs MiniStack itself. lamina therefore starts it with the target's minor version of
Python, from an empty virtual environment. A function can then import only its layers, its package and the standard library. MiniStack's
own packages are in a separate directory.
"""
