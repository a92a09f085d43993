"""
Refuse misspellings, and the words and phrases in ``.ci/words.txt``, wherever a person reads; ``make lint`` runs this.

``.ci/words.txt`` has one entry a line, ``avoid->replacement``, in the format of codespell's dictionaries. codespell finds
single words only, so this program makes one expression of the phrases and looks for them itself: in a Python file in
docstrings, other strings and comments, in every other file in the whole text. A phrase may run over the end of a line.
"""

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("words.txt")
READ = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Makefile",
    "pyproject.toml",
    ".ci",
    ".ci/run",
    ".ci/setup",
    "docs",
    "src",
    "examples",
    "benchmarks",
    "tests",
)
SUFFIXES = {".md", ".py", ".toml", ".yml", ".yaml"}
GENERATED = {"__pycache__", "node_modules", ".lamina", "cdk.out"}
# The marks of comments and quotations, which may be in the middle of a phrase that runs over the end of a line.
MARKS = re.compile(r"(?m)^[ \t]*[#>]+ ")
# Names, and typing errors that tests make on purpose.
INTENDED = "acount,alhpa,awsome,biuld,caf,comon,intoto,NotIn,notin,refrence,regons,servce"


def main(arguments: list[str]) -> int:
    """Check the files and directories in *arguments*, by default all that people read; return 1 if there is a finding."""
    paths = list(files(map(Path, arguments) if arguments else (Path(os.path.relpath(ROOT / name)) for name in READ)))
    phrases = read_phrases(LIST)
    expression = compile_phrases(phrases)
    findings = [finding for path in paths for finding in check(path, expression, phrases)]
    print(*findings, sep="\n", end="\n" if findings else "", flush=True)
    return int(bool(findings) | codespell(paths))


def codespell(paths: list[Path]) -> bool:
    """Return whether codespell finds a word in *paths* that is misspelled or in the list; it prints each."""
    dictionaries = ("--dictionary", str(LIST), "--dictionary", "-", "--ignore-words-list", INTENDED, "--check-hidden")
    command = [sys.executable, "-m", "codespell_lib", *dictionaries, *map(str, paths)]
    return subprocess.run(command, check=False).returncode != 0


def read_phrases(path: Path) -> dict[str, str]:
    """Return the entries of more than one word in the list at *path*, each with its replacement."""
    rows = (line.split("->") for line in path.read_text("utf-8").splitlines())
    return {phrase.lower(): replacement.rstrip(", ") for phrase, replacement in rows if " " in phrase}


def compile_phrases(phrases: dict[str, str]) -> re.Pattern[str]:
    """Return one expression that matches each of *phrases*, in upper or lower case, with any white space between its words."""
    return re.compile("|".join(map(_pattern, sorted(phrases, key=len, reverse=True))), re.IGNORECASE)


def _pattern(phrase: str) -> str:
    words = r"\s+".join(map(re.escape, phrase.split()))
    return (r"\b" if phrase[0].isalnum() else "") + words + (r"\b" if phrase[-1].isalnum() else "")


def files(arguments: Iterable[Path]) -> Iterator[Path]:
    """Yield the files in *arguments*, and those below its directories that a person reads."""
    for argument in arguments:
        found = sorted(argument.rglob("*")) if argument.is_dir() else [argument]
        yield from (
            path for path in found if path == argument or (path.suffix in SUFFIXES and not GENERATED & set(path.parts))
        )


def check(path: Path, expression: re.Pattern[str], phrases: dict[str, str]) -> Iterator[str]:
    """Yield one line for each match of *expression* in the prose of *path*."""
    text = path.read_text("utf-8")
    for line, part in python_prose(text) if path.suffix == ".py" else ((1, MARKS.sub(_blank, text)),):
        for match in expression.finditer(part):
            phrase = " ".join(match[0].split())
            at = line + part.count("\n", 0, match.start())
            yield f"{path}:{at}: {phrase} ==> {phrases[phrase.lower()]}"


def _blank(mark: re.Match[str]) -> str:
    return " " * len(mark[0])


def python_prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield each string and each block of comments in *source* with its line; fields of f-strings become ``{}``."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        # The examples may use syntax that is newer than this Python.
        yield 1, MARKS.sub(_blank, source)
        return
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts.update(map(id, node.values))
            yield node.lineno, "".join(each.value if isinstance(each, ast.Constant) else "{}" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, node.value
    yield from comment_blocks(source)


def comment_blocks(source: str) -> Iterator[tuple[int, str]]:
    """Yield each run of comments on consecutive lines of *source*, without the number signs, with its first line."""
    start, block = 0, []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if block and token.start[0] != start + len(block):
                yield start, "\n".join(block)
                block = []
            if not block:
                start = token.start[0]
            block.append(token.string.lstrip("# "))
    if block:
        yield start, "\n".join(block)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
