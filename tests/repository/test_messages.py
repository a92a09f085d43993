"""The snapshot of all messages shows what the sources say, and what every message must keep to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import messages

if TYPE_CHECKING:
    from messages import Message

pytestmark = pytest.mark.skipif(not messages.SOURCES.exists(), reason="there is no source tree")

# Names that begin a message, and the system's words for an error in place of a placeholder.
NAMES = ("Amazon Inspector", "Lambda", "Pipenv", "Poetry", "Python", messages.SAMPLES["error"])
MODULE = '''\
"""A docstring is not a message of the program."""

def refuse(path, sizes, most, hint):
    if not sizes:
        raise ConfigError(f"`{path}` has no sizes", hint=f"see `{path}`" if hint else "see the page")
    reporter.note(f"found {count(len(sizes), 'size')}")
    yield warning("size", path, f"`{path}` has {sizes[0]:,} bytes, more than " + ("twice " if most else "") + f"{most}")
    parser.add_argument("--sizes", help="the help is on another page")
    return "too large for a layer"
'''


@pytest.fixture(scope="module")
def collected() -> list[Message]:
    return messages.collect()


def test_the_snapshot_is_current(collected: list[Message]) -> None:
    """A changed message changes ``messages.txt``; `python tests/messages.py` writes it."""
    assert messages.SNAPSHOT.read_text("utf-8") == messages.snapshot(collected)


def test_each_kind_of_message_is_collected(tmp_path: Path) -> None:
    """Errors with hints, findings, notes and other texts are rendered; docstrings and help texts are left out."""
    Path(tmp_path, "module.py").write_text(MODULE, "utf-8")

    assert (
        "[module.py]\n"
        "error: `service/orders.py` has no sizes\n"
        "  hint: see `service/orders.py`\n"
        "  hint: see the page\n"
        "note: found 3 sizes\n"
        "note: found 1 size\n"
        "finding size: `service/orders.py` has 1,234 bytes, more than twice most\n"
        "finding size: `service/orders.py` has 1,234 bytes, more than most\n"
        "text: too large for a layer\n"
    ) == messages.snapshot(messages.collect(tmp_path))


def test_errors_and_hints_are_facts_without_a_full_stop(collected: list[Message]) -> None:
    """Errors, findings, notes and hints start in lower case, but for names, and end without a full stop."""
    kinds = {"error", "finding", "note", "warning"}
    # Programs that run inside a function's environment use the words of Lambda's own runtime.
    facts = [each for each in collected if each.kind.partition(" ")[0] in kinds and "/guest/" not in each.module]
    texts = [text for message in facts for text in (*message.texts, *message.hints)]

    assert len(texts) > 300
    assert [] == [text for text in texts if re.search(r"[^.…]\.$", text)]
    assert [] == [text for text in texts if re.match(r"[A-Z][a-z]", text) and not text.startswith(NAMES)]
