"""Show, verify or clean the store."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from lamina.cli.console import Console
from lamina.cli.options import days
from lamina.core.errors import ConfigError
from lamina.core.text import megabytes

if TYPE_CHECKING:
    import argparse

    from lamina.core.store import Store

HELP = "show, verify or clean the store of wheels and segments"
EXAMPLE = """\
examples:
  lamina cache size                       what is in the store
  lamina cache verify                     remove what is damaged (exit code 1 if anything was)
  lamina cache clean --older-than 30      remove what nothing has used for 30 days
  lamina cache clean --dry-run            say how much cleaning everything would free

The store is at $LAMINA_CACHE_DIR, or where this system keeps caches.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lamina cache`` to *parser*."""
    parser.add_argument("action", choices=("size", "verify", "clean"), help="what to do with the store")
    parser.add_argument("--older-than", type=days, metavar="DAYS", help="clean only what was not used for so many days")
    parser.add_argument("--dry-run", action="store_true", help="clean nothing, and say what would be")


def run(arguments: argparse.Namespace) -> int:
    """Do what *arguments* ask for; return 1 if something was damaged."""
    from lamina.core.store import Store

    if arguments.action != "clean" and (arguments.older_than is not None or arguments.dry_run):
        raise ConfigError("`--older-than` and `--dry-run` belong to `lamina cache clean`")
    store = Store.open()
    with Console.of(arguments) as console:
        if arguments.action == "size":
            return _size(store, as_json=arguments.json)
        if arguments.action == "verify":
            return _verify(store, console, as_json=arguments.json)
        return _clean(store, console, arguments)


def _size(store: Store, *, as_json: bool) -> int:
    from lamina.pipeline.cache import measure

    areas = measure(store)
    total = sum(area.bytes for area in areas)
    if as_json:
        _print_json({"path": str(store.root), "bytes": total, "areas": [asdict(area) for area in areas]})
        return 0
    for area in areas:
        print(f"{area.name:<12}{area.files:>8,} files{megabytes(area.bytes):>14}")
    print(f"{'total':<12}{sum(area.files for area in areas):>8,} files{megabytes(total):>14}  {store.root}")
    return 0


def _verify(store: Store, console: Console, *, as_json: bool) -> int:
    from lamina.pipeline.cache import verify

    damages = verify(store, reporter=console)
    if as_json:
        rows = [{"path": damage.path.as_posix(), "reason": damage.reason} for damage in damages]
        _print_json({"path": str(store.root), "removed": rows})
        return 1 if damages else 0
    for damage in damages:
        print(f"removed `{damage.path.as_posix()}`: {damage.reason}")
    if not damages:
        console.say(f"nothing is damaged in {store.root}")
    return 1 if damages else 0


def _clean(store: Store, console: Console, arguments: argparse.Namespace) -> int:
    from lamina.pipeline.cache import clean

    removed = clean(store, older_than_days=arguments.older_than, dry_run=arguments.dry_run, reporter=console)
    if arguments.json:
        _print_json({"path": str(store.root)} | asdict(removed))
        return 0
    verb = "would remove" if removed.dry_run else "removed"
    print(f"{verb} {removed.files:,} files, {megabytes(removed.bytes)}, from {store.root}")
    return 0


def _print_json(content: dict[str, object]) -> None:
    print(json.dumps({"version": "1", **content}, indent=2))
