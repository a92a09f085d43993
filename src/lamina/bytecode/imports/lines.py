"""
Find the lines of the imports in one Python source.

The target's interpreter also runs the text of this module, because only that version is sure to parse the target's sources. Therefore
this module imports nothing else of lamina, and must run on CPython 3.9.

Request on standard input: the source, after its little-endian 32-bit length.
Answer on standard output: a zero byte, the 32-bit length of the rest, and rows of module, level, names and line as JSON.
"""

import sys

# A program that is passed as a string imports from its working directory first. Remove that entry.
sys.path[:] = [entry for entry in sys.path if entry]

import ast  # noqa: E402
import json  # noqa: E402
import warnings  # noqa: E402


def import_lines(source: bytes) -> dict[tuple[str, int, tuple[str, ...]], int]:
    """Return the first line of each import in *source* by module, level and names; nothing if this Python cannot parse it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found: dict[tuple[str, int, tuple[str, ...]], int] = {}
    # Imports in functions come after those of the top level.
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                found.setdefault((each.name, 0, ()), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            key = (node.module or "", node.level, tuple(each.name for each in node.names))
            found.setdefault(key, node.lineno)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # The argument of a function such as `import_module`.
            name = node.value.lstrip(".")
            found.setdefault((name, len(node.value) - len(name), ()), node.lineno)
    return found


def main() -> None:
    """Answer one request."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    source = requests.read(int.from_bytes(requests.read(4), "little"))
    content = json.dumps([(*key, line) for key, line in import_lines(source).items()]).encode()
    answers.write(b"\0" + len(content).to_bytes(4, "little") + content)
    answers.flush()


if __name__ == "__main__":
    main()
