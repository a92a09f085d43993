"""Serve a directory of wheels as an index on loopback, until stdin closes; the first line of stdout is its URL."""

import sys
from pathlib import Path

# The tests' own server: one that misbehaves only when asked to.
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from loopback import IndexServer

with IndexServer(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
