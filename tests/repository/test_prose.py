"""``make lint`` refuses each word and phrase in ``.ci/words.txt``, wherever a person reads it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".ci" / "prose.py"
LIST = ROOT / ".ci" / "words.txt"

if not PROGRAM.exists():
    pytest.skip("the checks of the repository are not here", allow_module_level=True)

ENTRIES = [line.split("->")[0] for line in LIST.read_text("utf-8").splitlines()]
ORDINARY = """\
Tell lamina what to build. It takes a second, and what it prints is on stderr. Keep the layer beside the package.
This takes the path of a lock file. There is no lock file, and nothing has changed. The key `a` is no longer read. In the end state, nothing is left. The digest stands for the content.
"""

# One module for each place that a person reads: EXAMPLE is the entry.
MODULES = {
    "a docstring": 'def f() -> None:\n    """Build a layer, EXAMPLE, and\n    return."""\n',
    "an error": "raise ValueError(f'`{1}` and `x`EXAMPLE, {2}')\n",
    "a help text": "parser.add_argument('--x', help='the '\n    'layer`EXAMPLE (default: 1)')\n",
    "a comment": "# A layer`EXAMPLE\n# is built.\nx = 1\n",
    "a broken line": 'def f() -> None:\n    """Build a layer` BROKEN\n    now."""\n',
}


def run(*paths: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=paths[0].parent)


def module(text: str, entry: str) -> str:
    """Return *text* with *entry* in place of its marker, broken over two lines at the marker that asks for it."""
    spaced = entry.removeprefix("` ") if entry.startswith("` ") else entry
    lead = "` " if entry.startswith("` ") else " "
    broken = entry.removeprefix("` ").replace(" ", "\n    ", 1)
    return text.replace("`EXAMPLE", lead + spaced).replace(" EXAMPLE", " ` " + spaced).replace("BROKEN", broken)


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what the check prints for one page and one module of each kind for each entry."""
    root = tmp_path_factory.mktemp("prose")
    for number, entry in enumerate(ENTRIES):
        (root / f"{number}.md").write_text(f"# Build a layer\n\nThe layer of `x` is {entry} built.\n", "utf-8")
        if entry.startswith("`"):
            (root / f"{number}.md").write_text(f"# Build a layer\n\nThe file `x{entry} zip.\n", "utf-8")
        for kind, text in MODULES.items():
            (root / f"{number}-{kind.replace(' ', '-')}.py").write_text(module(text, entry), "utf-8")
    done = run(root)
    assert 1 == done.returncode, done.stderr
    return done.stdout


@pytest.mark.parametrize("entry", ENTRIES)
def test_each_entry_is_refused_wherever_it_is_put_back(entry: str, findings: str) -> None:
    """A page, a docstring, an error, a help text and a comment with the entry are each reported, also over a line's end."""
    number = ENTRIES.index(entry)
    names = [f"{number}.md", *(f"{number}-{kind.replace(' ', '-')}.py" for kind in MODULES)]

    assert [] == [
        name
        for name in names
        if not re.search(rf"(?m)/{re.escape(name)}:\d+: {re.escape(entry)} ", findings, re.IGNORECASE)
    ]


@pytest.mark.parametrize(
    "text", ["# The layer, say\n# what it is.\n", "x = 1\n    # Say\n    # what it is.\n", "> Say\n> what it is.\n"]
)
@pytest.mark.parametrize("name", ["settings.toml", "page.md", "workflow.yml"])
def test_comments_and_quotations_are_read_over_the_end_of_a_line(name: str, text: str, tmp_path: Path) -> None:
    """The mark at the start of a line does not hide a phrase in other files than Python's either."""
    (tmp_path / name).write_text(text, "utf-8")

    done = run(tmp_path)

    assert (1, 1) == (done.returncode, done.stdout.count(" ==> describe, show, configure"))


def test_ordinary_sentences_pass(tmp_path: Path) -> None:
    """*What*, *takes*, *beside* and *stands* are refused in some phrases only."""
    page = tmp_path / "page.md"
    page.write_text(ORDINARY, "utf-8")
    done = run(page)

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_every_entry_names_a_replacement() -> None:
    """Each line is ``avoid->replacement``, once, in the order of single words and then phrases."""
    rows = [line.split("->") for line in LIST.read_text("utf-8").splitlines()]

    assert all(len(row) == 2 and all(cell.strip() for cell in row) for row in rows)
    assert ENTRIES == sorted(set(ENTRIES), key=lambda entry: (" " in entry, entry))


def test_lint_runs_the_check() -> None:
    """`make lint` has the check among its commands."""
    done = subprocess.run(["make", "--dry-run", "lint"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert "python .ci/prose.py\n" in done.stdout + "\n"
