"""``lamina cache``: show, verify, clean or transfer the cache of downloads and builds."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli.console import Console, emit, emit_json, table_width
from lamina.cli.options import days
from lamina.core.errors import ConfigError
from lamina.core.text import megabytes

if TYPE_CHECKING:
    import argparse

    from lamina.core.store import Store

HELP = (
    "Show the size of the local store, which caches downloads and builds; verify its files; delete files from it; or transfer its "
    "bytecode to another machine. "
    "The store is in `$LAMINA_CACHE_DIR`, or in your system's cache directory."
)
EXAMPLE = """\
examples:
  lamina cache size                     # show the size of the store
  lamina cache verify                   # delete damaged files; exit with 1 if there were any
  lamina cache clean --older-than 30    # delete files not used for 30 days
  lamina cache clean --dry-run          # show how much space a full clean would free
  lamina cache export --bytecode bytecode.zip    # write what takes longest to create again to a small archive
  lamina cache import bytecode.zip      # add such an archive to the store
"""
PAGE = "how-to/ci-cache.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina cache`` to *parser*."""
    parser.add_argument(
        "action",
        choices=("size", "verify", "clean", "export", "import"),
        help="show, verify, delete, write or add files of the store",
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the archive to import")
    parser.add_argument(
        "--bytecode", type=Path, metavar="FILE", help="export the bytecode and the import indexes to the archive FILE"
    )
    parser.add_argument("--older-than", type=days, metavar="DAYS", help="delete only files not used for DAYS days")
    parser.add_argument("--dry-run", action="store_true", help="show what clean would delete, without deleting it")


def run(arguments: argparse.Namespace) -> int:
    """Show, verify, clean or transfer the store; return 1 if verifying found damaged files."""
    from lamina.core.store import Store

    if arguments.action != "clean" and (arguments.older_than is not None or arguments.dry_run):
        raise ConfigError(
            "`--older-than` and `--dry-run` need the action `clean`",
            hint=f"run `lamina cache {arguments.action}` without these options",
        )
    _check_transfer(arguments)
    store = Store.open()
    with Console.of(arguments) as console:
        console.stage("reading the store")
        if arguments.action == "size":
            return _size(store, console, as_json=arguments.json)
        if arguments.action == "verify":
            return _verify(store, console, as_json=arguments.json)
        if arguments.action in {"export", "import"}:
            return _transfer(store, console, arguments)
        return _clean(store, console, arguments)


def _size(store: Store, console: Console, *, as_json: bool) -> int:
    from lamina.pipeline.cache import measure

    areas = measure(store)
    console.close()
    total = sum(area.bytes for area in areas)
    if as_json:
        _print_json({"path": str(store.root), "bytes": total, "areas": [asdict(area) for area in areas]})
        return 0
    for area in areas:
        emit(f"{area.name:<12}{_files(area.files, 8):<14}{megabytes(area.bytes):>14}")
    line = f"{'total':<12}{_files(sum(area.files for area in areas), 8):<14}{megabytes(total):>14}"
    width = table_width(sys.stdout)
    has_space = width is None or len(line) + 2 + len(str(store.root)) <= width
    emit(f"{line}  {store.root}" if has_space else f"{line}\n{store.root}")
    return 0


def _verify(store: Store, console: Console, *, as_json: bool) -> int:
    from lamina.pipeline.cache import verify

    damages = verify(store, reporter=console)
    console.close()
    if as_json:
        rows = [{"path": damage.path.as_posix(), "reason": damage.reason} for damage in damages]
        _print_json({"path": str(store.root), "removed": rows})
        return 1 if damages else 0
    for damage in damages:
        emit(f"removed `{damage.path.as_posix()}`: {damage.reason}")
    if not damages:
        console.say(f"no damaged files in {store.root}")
    return 1 if damages else 0


def _clean(store: Store, console: Console, arguments: argparse.Namespace) -> int:
    from lamina.pipeline.cache import clean

    removed = clean(store, older_than_days=arguments.older_than, dry_run=arguments.dry_run, reporter=console)
    console.close()
    if arguments.json:
        _print_json({"path": str(store.root)} | asdict(removed))
        return 0
    verb = "would remove" if removed.dry_run else "removed"
    emit(f"{verb} {_files(removed.files)} ({megabytes(removed.bytes)}) from {store.root}")
    return 0


def _check_transfer(arguments: argparse.Namespace) -> None:
    """Raise `ConfigError` unless exactly `import` has a file, and exactly `export` has ``--bytecode``."""
    action = arguments.action
    if action == "export" and arguments.bytecode is None:
        raise ConfigError(
            "`lamina cache export` needs the option `--bytecode FILE`",
            hint="run `lamina cache export --bytecode bytecode.zip`",
        )
    if action == "import" and arguments.file is None:
        raise ConfigError("`lamina cache import` needs a file", hint="run `lamina cache import bytecode.zip`")
    if action != "export" and arguments.bytecode is not None:
        raise ConfigError(
            f"`lamina cache {action}` has no option `--bytecode`",
            hint=f"run `lamina cache {action}` without `--bytecode`",
        )
    if action != "import" and arguments.file is not None:
        raise ConfigError(
            f"`lamina cache {action}` has no argument `{arguments.file}`",
            hint=f"run `lamina cache {action}` without this argument",
        )


def _transfer(store: Store, console: Console, arguments: argparse.Namespace) -> int:
    from lamina.core.frozen import as_dict
    from lamina.pipeline.cache_archive import Added, add, export

    exporting, archive = arguments.action == "export", arguments.bytecode or arguments.file
    with store.in_use(console):
        done = export(store, archive, reporter=console) if exporting else add(archive, store, reporter=console)
    console.close()
    if arguments.json:
        _print_json({"path": str(store.root), "archive": str(archive)} | as_dict(done))
    elif isinstance(done, Added):
        known = f"; {_files(done.present)} there already" if done.present else ""
        emit(f"added {_files(done.files)} ({megabytes(done.bytes)} unpacked) to {store.root}{known}")
    else:
        emit(f"wrote {_files(done.files)} ({megabytes(done.bytes)}) to {archive}")
    return 0


def _files(number: int, width: int = 0) -> str:
    """Return *number*, aligned to the right in *width* characters, and the noun: "1 file", "2,000 files"."""
    return f"{number:>{width},} file{'' if number == 1 else 's'}"


def _print_json(content: dict[str, object]) -> None:
    emit_json({"version": "1", **content})
