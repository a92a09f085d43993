"""Run lamina as ``python -m lamina``."""

from lamina.cli.main import entry_point

if __name__ == "__main__":
    entry_point()
