"""The examples of well-known projects, as handlers: each locked import is found, and each import that is not locked is reported."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import sys
import tarfile
import tomllib
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from conformance.case import uv
from lamina.bytecode.interpreter import environment_variable
from lamina.core.store import Store
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.values import Finding

pytestmark = pytest.mark.live

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
HANDLER = "\n\ndef lambda_handler(event, context): ...\n"


@dataclass(frozen=True)
class Examples:
    """The ``examples`` directory of a source distribution."""

    project: str
    """The requirement of the project."""
    more: tuple[str, ...] = ()
    """Further requirements that the examples import."""
    absent: frozenset[str] = frozenset()
    """The modules that examples import and that are not locked, because they would exceed Lambda's limits or need a compiler."""
    bytecode: str = "reachable"
    exclude: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.project.partition("==")[0]


MAPS = frozenset({"cartopy", "contextily", "geopandas", "libpysal", "momepy", "osmnx"})
EXAMPLES = (
    Examples("sqlalchemy", ("dogpile-cache",)),
    Examples("flask", ("celery", "pytest")),
    Examples("pyyaml", ("pygments",)),
    Examples(
        # Later source distributions have no examples.
        "networkx==3.4.2",
        ("matplotlib", "scipy"),
        MAPS | {"flask", "igraph", "mayavi", "pandas", "seaborn", "sklearn"},
        "none",
        ("**/tests/", "scipy.libs/"),
    ),
    Examples(
        "scikit-learn",
        ("matplotlib", "pandas"),
        frozenset({"mpl_toolkits.basemap", "nmslib", "plotly", "polars", "pynndescent", "seaborn", "skimage"}),
        "none",
        ("**/tests/", "numpy.libs/", "scipy.libs/", "scikit_learn.libs/"),
    ),
)


@pytest.mark.parametrize("examples", EXAMPLES, ids=lambda examples: examples.name)
def test_examples(examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule reports exactly the modules that are not locked, and with a dependency left out also this one's."""
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    names = [examples.project, *examples.more]
    project = (
        f'[project]\nname = "handlers"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = {json.dumps(names)}\n'
    )
    (tmp_path / "pyproject.toml").write_text(project)
    uv("lock", cwd=tmp_path)
    functions = write_handlers(unpack_sdist(examples.name, tmp_path) / "examples", tmp_path)
    configure(tmp_path, examples, functions, without=())
    store = Store.open(tmp_path.parent / "store")

    found = [missing(finding) for finding in findings(tmp_path, store)]

    assert len(functions) >= 2
    assert set(found) == examples.absent
    configure(tmp_path, examples, functions, without=(examples.name,))
    top = {"scikit-learn": "sklearn", "pyyaml": "yaml"}.get(examples.name, examples.name)
    assert top in {missing(finding) for finding in findings(tmp_path, store)}


def findings(project: Path, store: Store) -> list[Finding]:
    result = build(project, BuildOptions(), store=store)
    assert not result.refused
    return [finding for finding in result.build.findings if finding.rule == "missing-import"]


def missing(finding: Finding) -> str:
    """Return the module at the end of the chain in the message."""
    return finding.message.split(" → `")[-1].partition("`")[0]


def unpack_sdist(name: str, directory: Path) -> Path:
    """Download the locked source distribution *name*, check its hash, and return its unpacked directory."""
    lock = tomllib.loads((directory / "uv.lock").read_text("utf-8"))
    sdist = next(package["sdist"] for package in lock["package"] if package["name"] == name)
    assert sdist["url"].startswith("https://")
    with urllib.request.urlopen(sdist["url"]) as answer:  # noqa: S310 - the scheme was checked
        content = answer.read()
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == sdist["hash"]
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(directory / "sdist", filter="data")
    (top,) = (directory / "sdist").iterdir()
    return top


def write_handlers(examples: Path, project: Path) -> dict[str, tuple[str, list[str]]]:
    """Add a handler to each example that is no test. Return the handler and the sources of each function."""
    functions: dict[str, tuple[str, list[str]]] = {}
    for path in sorted(examples.rglob("*.py")):
        root, content = path.parent, path.read_text("utf-8")
        while (root / "__init__.py").exists():
            root = root.parent
        if path.name.startswith(("__init__", "test_", "conftest")) or "tests" in path.parts:
            continue
        ast.parse(content)
        path.write_text(content + HANDLER, "utf-8")
        roots = [root, *([root / "src"] if (root / "src").is_dir() else [])]
        module = path.relative_to(root).with_suffix("").as_posix()
        sources = [f"{each.relative_to(project).as_posix()}/*" for each in roots]
        functions[f"f{len(functions)}"] = (f"{module}.lambda_handler", sources)
    return functions


def configure(
    project: Path, examples: Examples, functions: dict[str, tuple[str, list[str]]], *, without: tuple[str, ...]
) -> None:
    # Without bytecode, no interpreter of the target's version is needed, and most wheels fit a newer runtime.
    minor = "3.13" if examples.bytecode == "none" else MINOR
    lines = [
        f'runtime = "python{minor}"',
        f'bytecode = "{examples.bytecode}"',
        f"exclude = {json.dumps(examples.exclude)}",
    ]
    lines += ["[layers.common]", f"without = {json.dumps(without)}"]
    for name, (handler, sources) in functions.items():
        lines += [f"[functions.{name}]", f"handler = {json.dumps(handler)}", f"source = {json.dumps(sources)}"]
    (project / "lamina.toml").write_text("\n".join(lines))
