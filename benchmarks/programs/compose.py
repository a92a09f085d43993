"""
Compose the layer of ``DIRECTORY/fetching`` from cached segments, or copy it, and print the time in seconds.

``compose.py compose|copy STORE DIRECTORY`` writes ``DIRECTORY/compose.zip`` or ``DIRECTORY/copy.zip``.
"""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from lamina.archive.layer import Identity, compose, contributed
from lamina.archive.segment import Recipe, splice
from lamina.core.store import Store
from lamina.core.target import Target
from lamina.core.values import Pin, Wheel


def composing(document: dict[str, Any], store: Store, destination: Path) -> float:
    [layer] = document["layers"]
    target = Target.of(document["target"]["runtime"], document["target"]["architecture"])
    pins = tuple(
        Pin(name=each["name"], version=each["version"], filename=each["artifact"], sha256=each["sha256"])
        for each in layer["distributions"]
    )
    wheels = [Wheel(pin=pin, path=path) for pin in pins if (path := store.wheel(pin.sha256, pin.filename))]
    recipe = Recipe()
    identity = Identity(target=target, pins=pins, recipe=recipe)
    start = time.perf_counter()
    parts = contributed({wheel.pin.name: splice(wheel, recipe, store) for wheel in wheels}, {})
    with destination.open("w+b", buffering=0) as file:
        compose(file, parts, identity, identity.digest())
    return time.perf_counter() - start


def copying(source: Path, destination: Path) -> float:
    start = time.perf_counter()
    shutil.copyfile(source, destination)
    return time.perf_counter() - start


what, store, directory = sys.argv[1], *map(Path, sys.argv[2:])
built = directory / "fetching" / ".lamina"
built_document = json.loads((built / "build.json").read_text("utf-8"))
[source] = (built / "layers").glob("*.zip")
destination = directory / f"{what}.zip"
seconds = 0.0
# Only the second round is reported: the first one imports modules, which other rows measure as start-up time.
for _ in range(2):
    destination.unlink(missing_ok=True)
    if what == "compose":
        seconds = composing(built_document, Store.open(store), destination)
    else:
        seconds = copying(source, destination)
print(seconds)
