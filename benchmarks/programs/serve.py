"""Serve a directory of wheels as an index on loopback until stdin closes, and print the index's URL to stdout."""

import sys
from pathlib import Path

# Import the tests' server, which behaves correctly unless a test configures faults.
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from loopback import IndexServer

with IndexServer(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
