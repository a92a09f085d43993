"""
Find the imports of sources that arrive over a pipe, and compile them. An interpreter of the target's minor version runs this program.

lamina never imports this module. It passes the text of this module to that interpreter, so the code must also run on
CPython 3.9. Standard input starts with the texts of ``compile_worker.py`` and ``imports/scan.py``, each after its
little-endian 32-bit length.

Request on standard input: a byte (the target's minor version, or 0 to only compile), a byte (the flags of PEP 552, or 0 to
only find imports), two little-endian 32-bit lengths, file name, source.
The second argument is the memory in bytes that the process may use.
Answer on standard output: a byte (a state of ``compile_worker.py``, or `NOT_COMPILED`), the 32-bit length of the rest, the
32-bit length of the imports, the imports as JSON, then the bytecode file or the reason.
"""

import sys

# A program that is passed as a string imports from its working directory first. Remove that entry.
sys.path[:] = [entry for entry in sys.path if entry]

import gc  # noqa: E402
from types import ModuleType  # noqa: E402

NOT_COMPILED = b"\3"
# A source with a set constant must be compiled in a fresh process. If the constant is written like this, it is not compiled here first.
SET_CONSTANT = b" in {"
# Older versions need a fresh process for every source (see `depends_on_history` in ``compile_worker.py``).
NEVER_HERE = sys.version_info < (3, 11)


def program(name: str, text: str) -> ModuleType:
    """Return the program *text* as a module, without running what it does as the main program."""
    module = ModuleType(name)
    exec(text, vars(module))  # noqa: S102 - the text is a part of lamina
    return module


def main() -> None:
    """Answer requests until the input ends."""
    # Syntax trees have no reference cycles, so collecting garbage only takes time: a fifth of each request.
    gc.disable()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    texts = [requests.read(int.from_bytes(requests.read(4), "little")).decode("utf-8") for _ in range(2)]
    compiling, scanning = program("compile_worker", texts[0]), None
    compiling.bound_memory(int(sys.argv[2]))
    while True:
        head = requests.read(10)
        if not head:
            break
        filename = requests.read(int.from_bytes(head[2:6], "little")).decode("utf-8")
        source = requests.read(int.from_bytes(head[6:10], "little"))
        imports, exhausted = b"", False
        if head[0]:
            scanning = scanning or program("scan", texts[1])
            try:
                imports = scanning.encoded(source, python=(3, head[0]))
            except MemoryError:
                exhausted = True
        if exhausted:
            result = compiling.EXHAUSTED
        elif not head[1]:
            result = NOT_COMPILED
        elif NEVER_HERE or SET_CONSTANT in source:
            result = compiling.NEEDS_FRESH_PROCESS
        else:
            result = compiling.answer(filename, source, head[1:2], fresh=False)
        content = len(imports).to_bytes(4, "little") + imports + result[1:]
        answers.write(result[:1] + len(content).to_bytes(4, "little") + content)
        answers.flush()


if __name__ == "__main__":
    main()
