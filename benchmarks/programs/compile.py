"""Compile the sources whose bytecode is in the zip argv[1], as a lower bound for every build that compiles them."""

import sys
import zipfile
from importlib.util import source_from_cache

with zipfile.ZipFile(sys.argv[1]) as layer:
    for name in layer.namelist():
        if name.endswith(".pyc"):
            source = source_from_cache(name)
            compile(layer.read(source), source, "exec", dont_inherit=True, optimize=0)
