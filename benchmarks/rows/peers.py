"""Measure other ways to build the same layer: uv and zip, pip and zip, SAM."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import remove
from benchmarks.tools import MissingToolError, tool
from benchmarks.values import Row, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench
    from benchmarks.values import Budget, Command

__all__ = ["BUDGETS", "rows", "uv_install", "zipping"]

BUDGETS: Sequence[Budget] = ()

_SAM_TEMPLATE = """\
Transform: AWS::Serverless-2016-10-31
Resources:
  Dependencies:
    Type: AWS::Serverless::LayerVersion
    Properties:
      ContentUri: dependencies
      CompatibleRuntimes: [{runtime}]
    Metadata:
      BuildMethod: {runtime}
      BuildArchitecture: {architecture}
"""


def rows(bench: Bench) -> Sequence[Row | Unavailable]:
    """Return the rows for uv and zip, pip and zip, and SAM."""
    return [*_uv(bench), *_pip(bench), *_sam(bench)]


def uv_install(bench: Bench) -> str | None:
    """Return the shell command that installs the example's wheels with uv into `python/`; ``None`` if uv is not installed."""
    uv = shutil.which("uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    platform = {"x86_64": "x86_64", "arm64": "aarch64"}[str(bench.target.architecture)]
    return uv and (
        f"'{uv}' pip install --quiet --link-mode hardlink --no-deps --require-hashes --only-binary :all:"
        f" --python '{sys.executable}' --python-version {_version(bench)} --python-platform {platform}-manylinux_2_34"
        f" --target python --requirements '{bench.example / 'requirements.txt'}'"
    )


def _uv(bench: Bench) -> Sequence[Row | Unavailable]:
    install = uv_install(bench)
    if install is None:
        return [Unavailable(name="uv-zip", title="uv pip install --target + zip -r", reason="`uv` is not installed")]
    tree = bench.work / "uv-tree"
    alone = bench.work / "uv-alone"
    # Warm uv's cache: on its first run, uv unpacks the wheels into it.
    bench.run(_shell(bench, install, _emptied(alone)))
    return [
        Row(
            name="uv",
            title="uv pip install --target alone, warm cache",
            run=lambda run: run(_shell(bench, install, alone)).sample,
            prepare=lambda: _void(_emptied(alone)),
        ),
        _zipped("uv-zip", "uv pip install --target, warm cache,", bench, install, tree),
    ]


def _pip(bench: Bench) -> Sequence[Row | Unavailable]:
    title = "pip install -t"
    if bench.interpreter is None:
        return [
            Unavailable(name="pip-zip", title=f"{title} + zip -r", reason=f"{bench.target.runtime} is not installed")
        ]
    install = (
        f"'{bench.interpreter}' -m pip install --quiet --no-deps --require-hashes --only-binary :all:"
        f" -t python -r '{bench.example / 'requirements.txt'}'"
    )
    return [_zipped("pip-zip", title, bench, install, bench.work / "pip-tree", slow=True)]


def zipping() -> tuple[str, str]:
    """Return the shell command that writes `layer.zip` from `python/`, and its name in titles."""
    if shutil.which("zip") is not None:
        return "zip -qr layer.zip python", "zip -r"
    # Python's zipfile is about as fast: both use zlib at level 6.
    return f"'{sys.executable}' -m zipfile -c layer.zip python", "zip -r (without zip: Python's zipfile)"


def _zipped(name: str, title: str, bench: Bench, install: str, tree: Path, *, slow: bool = False) -> Row:
    command, words = zipping()

    def verify() -> None:
        if not (tree / "layer.zip").stat().st_size:
            raise RuntimeError(f"`{tree}` has an empty `layer.zip`")

    return Row(
        name=name,
        title=f"{title} + {words}",
        run=lambda run: run(_shell(bench, f"{install} && {command}", tree)).sample,
        prepare=lambda: _void(_emptied(tree)),
        verify=verify,
        slow=slow,
    )


def _sam(bench: Bench) -> Sequence[Row | Unavailable]:
    titles = {
        "sam-build": "sam build of the layer (no zip)",
        "sam-again": "sam build --cached, nothing changed (no zip)",
    }
    try:
        sam = _sam_program(bench)
    except MissingToolError as error:
        return [Unavailable(name=name, title=title, reason=str(error)) for name, title in titles.items()]
    return _sam_rows(bench, str(sam), titles)


def _sam_program(bench: Bench) -> Path:
    if bench.quick:
        raise MissingToolError("skipped with --quick")
    if bench.interpreter is None:
        raise MissingToolError(f"{bench.target.runtime} is not installed")
    return tool(bench, "aws-sam-cli", "sam")


def _sam_rows(bench: Bench, sam: str, titles: dict[str, str]) -> Sequence[Row]:
    def place(name: str) -> Path:
        tree = bench.work / name
        dependencies = tree / "dependencies"
        if not dependencies.exists():
            dependencies.mkdir(parents=True)
            shutil.copyfile(bench.example / "requirements.txt", dependencies / "requirements.txt")
            runtime, architecture = bench.target.runtime, str(bench.target.architecture)
            template = _SAM_TEMPLATE.format(runtime=runtime, architecture=architecture)
            (tree / "template.yaml").write_text(template, "utf-8")
        return tree

    # SAM requires an executable with the runtime's name on the PATH.
    search = os.pathsep.join((str(bench.interpreter.parent) if bench.interpreter else "", bench.environment["PATH"]))
    more = {"PATH": search, "SAM_CLI_TELEMETRY": "0", "HOME": str(bench.work / "home")}
    cold, again = place("sam-cold"), place("sam-again")
    build = bench.command(sam, "build", directory=cold, more=more)
    rebuild = bench.command(sam, "build", "--cached", directory=again, more=more)

    def built_once() -> None:
        if not (again / ".aws-sam").exists():
            bench.run(rebuild)

    def verify() -> None:
        if not (cold / ".aws-sam" / "build" / "Dependencies" / "python").is_dir():
            raise RuntimeError("SAM did not build the layer")

    return [
        Row(
            name="sam-build",
            title=titles["sam-build"],
            run=lambda run: run(build).sample,
            prepare=lambda: remove(cold / ".aws-sam"),
            verify=verify,
            slow=True,
        ),
        Row(
            name="sam-again",
            title=titles["sam-again"],
            run=lambda run: run(rebuild).sample,
            prepare=built_once,
            slow=True,
        ),
    ]


def _version(bench: Bench) -> str:
    return ".".join(map(str, bench.target.python))


def _emptied(tree: Path) -> Path:
    remove(tree)
    tree.mkdir(parents=True)
    return tree


def _shell(bench: Bench, script: str, directory: Path) -> Command:
    return bench.command("sh", "-c", script, directory=directory)


def _void(_: object) -> None:
    """Discard the argument, so that a lambda with a value can be a `prepare` function."""
