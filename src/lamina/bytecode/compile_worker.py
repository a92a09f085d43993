"""
Compile sources that arrive over a pipe. An interpreter of the target's minor version runs this program.

lamina never imports this module. It passes the text of this module to that interpreter, so the code must also run on
CPython 3.9.

Request on standard input: one byte (the flags of PEP 552), two little-endian 32-bit lengths, file name, source.
Answer on standard output: one byte (one of the states below), a 32-bit length, then the bytecode file or the reason.
"""

import sys

# A program that is passed as a string imports from its working directory first. Remove that entry.
sys.path[:] = [entry for entry in sys.path if entry]

import marshal  # noqa: E402
import os  # noqa: E402
from importlib.util import MAGIC_NUMBER, source_hash  # noqa: E402
from types import CodeType  # noqa: E402

REFUSED = b"\0"
COMPILED = b"\1"
NEEDS_FRESH_PROCESS = b"\2"
EXHAUSTED = b"\4"

# The parser also raises MemoryError for code that is nested too deeply. A source of this size cannot exhaust the memory.
SMALL_BYTES = 65536


def compiled(filename: str, source: bytes, flags: bytes) -> "tuple[CodeType, bytes]":
    """Compile *source*, and return the code object and the hash-based bytecode file. Raises the compiler's errors."""
    code = compile(source, filename, "exec", dont_inherit=True, optimize=0)
    return code, MAGIC_NUMBER + flags + b"\0\0\0" + source_hash(source) + marshal.dumps(code)


def depends_on_history(code: CodeType) -> bool:
    """
    Return whether the bytecode of *code* depends on sources that this process compiled before (CPython issue 129724).

    The compiler creates a new set constant if one of the set's strings is already interned. Then marshal no longer
    recognises that two references are to the same set. Before Python 3.11, this affects strings too, so the result is
    always true.
    """
    if sys.version_info < (3, 11):  # noqa: UP036 - this file runs on the target's minor
        return True
    return any(
        depends_on_history(constant) if isinstance(constant, CodeType) else isinstance(constant, frozenset)
        for constant in code.co_consts
    )


def answer(filename: str, source: bytes, flags: bytes, *, fresh: bool) -> bytes:
    """
    Return the state, followed by the bytecode file, or by the reason if the source does not compile.

    The state is `EXHAUSTED` if there is too little memory, which is no reason of the source.
    *fresh* states that this process has compiled no other source. Otherwise, the answer can be the state
    `NEEDS_FRESH_PROCESS` alone: the source must then be compiled in a fresh process.
    """
    try:
        code, bytecode = compiled(filename, source, flags)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        if isinstance(error, MemoryError) and len(source) > SMALL_BYTES:
            return EXHAUSTED
        reason = "{}: {}".format(type(error).__name__, getattr(error, "msg", error))
        if getattr(error, "lineno", None):
            reason += " (line {})".format(getattr(error, "lineno", 0))
        return REFUSED + reason.encode("utf-8", "replace")
    if not fresh and depends_on_history(code):
        return NEEDS_FRESH_PROCESS
    return COMPILED + bytecode


def forked(filename: str, source: bytes, flags: bytes) -> bytes:
    """Compile *source* in a child process, and return its `answer`. The child is fresh, because its parent compiles nothing itself."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(sending, "wb") as stream:
            stream.write(answer(filename, source, flags, fresh=True))
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as stream:
        result = stream.read()
    _, status = os.waitpid(child, 0)
    return EXHAUSTED if status else result


def bound_memory(most: int) -> None:
    """Bound the address space of this process and its children to *most* bytes, where the system can do that."""
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def main(mode: str, most: str) -> None:
    """
    Answer requests until the input ends.

    With *mode* `fork`, compile in a new child process for each request. With `once`, compile in this process, for a caller
    that sends only one request. *most* is the memory in bytes that may be used.
    """
    bound_memory(int(most))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        head = requests.read(9)
        if not head:
            break
        filename = requests.read(int.from_bytes(head[1:5], "little")).decode("utf-8")
        source = requests.read(int.from_bytes(head[5:9], "little"))
        if mode == "fork":
            result = forked(filename, source, head[:1])
        else:
            result = answer(filename, source, head[:1], fresh=mode == "once")
        answers.write(result[:1] + (len(result) - 1).to_bytes(4, "little") + result[1:])
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
