"""
Compose the layer of a project from cached segments, or copy it, and print how many seconds that took.

``compose.py compose|copy PROJECT STORE DIRECTORY``: writes ``DIRECTORY/compose.zip`` or ``copy.zip``.
"""

import shutil
import sys
import time
from pathlib import Path

from lamina.archive.layer import Identity, compose, contributions
from lamina.model import Wheel
from lamina.pipeline import Options, plan
from lamina.store import Store


def composing(project: Path, store: Store, destination: Path) -> float:
    [layer] = plan(project, Options(), store=store).layers
    pins = layer.selection.pins
    wheels = [Wheel(pin=pin, path=path) for pin in pins if (path := store.wheel(pin.sha256, pin.filename))]
    identity = Identity(target=layer.selection.target, pins=pins, recipe=layer.recipe)
    start = time.perf_counter()
    parts = contributions(wheels, layer.recipe, store)
    with destination.open("w+b", buffering=0) as file:
        compose(file, parts, identity, identity.digest())
    return time.perf_counter() - start


def copying(source: Path, destination: Path) -> float:
    start = time.perf_counter()
    shutil.copyfile(source, destination)
    return time.perf_counter() - start


what, project, store, directory = sys.argv[1], *map(Path, sys.argv[2:])
if what == "compose":
    print(composing(project, Store.open(store), directory / "compose.zip"))
else:
    [layer] = (directory / "fetching" / ".lamina" / "layers").glob("*.zip")
    print(copying(layer, directory / "copy.zip"))
