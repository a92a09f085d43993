"""Build the services of argv[1:], one after the other."""

import sys

from lamina.cli import main

for project in sys.argv[1:]:
    if code := main(["build", "--quiet", "--project", project]):
        sys.exit(code)
