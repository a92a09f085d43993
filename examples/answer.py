"""
Run one handler with its example event, and compare the answer with the expected one.

``answer.py PACKAGE LAYER HANDLER EVENTS NAME`` runs under the target's Python, where lamina is not installed.
"""

import importlib
import json
import sys
import time
from pathlib import Path


class Context:
    """A stand-in for the context object that Lambda passes to a handler."""

    function_version = "$LATEST"
    memory_limit_in_mb = 256
    aws_request_id = "request-0001"

    def __init__(self, name: str) -> None:
        """Create the context of an invocation of the function *name*."""
        self.function_name = name
        self.invoked_function_arn = f"arn:aws:lambda:eu-central-1:123456789012:function:{name}"

    def get_remaining_time_in_millis(self) -> int:
        """Return a constant, because no time limit applies here."""
        return 3000


package, layer, handler, events, name = sys.argv[1:]
# The same order as on Lambda: /var/task, then /opt/python.
sys.path[:0] = [package, layer]
started = time.perf_counter()
module, function = handler.rsplit(".", 1)
handle = getattr(importlib.import_module(module), function)
imported = time.perf_counter() - started
answer = handle(json.loads(Path(events, f"{name}.json").read_text("utf-8")), Context(name))
expected = json.loads(Path(events, "expected.json").read_text("utf-8"))[name]
if not expected.items() <= answer.items():
    sys.exit(f"{name}: expected {expected}, got {answer}")

homes = {"the layer": layer, "the package": package}
counts = {
    where: sum(str(getattr(each, "__file__", "")).startswith(home) for each in sys.modules.values())
    for where, home in homes.items()
}
sources = ", ".join(f"{count} modules from {where}" for where, count in counts.items())
print(f"answered {json.dumps(expected)}; imported in {imported * 1000:.0f} ms: {sources}")
