"""
Start the runtime client with the search path that Lambda gives it. Runs inside the environment, on Python 3.9 or later.

Arguments: the handler, the directory that stands for ``/opt``, and optionally source code to run first together with the
descriptor that this code may report to.
"""

from __future__ import annotations

import os
import sys


def search_path(opt: str, path: list[str]) -> list[str]:
    """
    Return *path*, the interpreter's own, with Lambda's directories before it; the script's directory is the runtime's.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/python-package.html, and ``sys.path`` as functions on python3.13
    print it (2026-11-23): function, layer, runtime, standard library.
    """
    runtime = os.environ["LAMBDA_RUNTIME_DIR"]
    first = [
        os.environ["LAMBDA_TASK_ROOT"],
        f"{opt}/python/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages",
        f"{opt}/python",
        runtime,
    ]
    return first + [entry for entry in path if entry != runtime]


def main() -> None:
    """Hand over to the runtime client, which returns only with the process."""
    handler, opt, *prelude = sys.argv[1:]
    sys.path[:] = search_path(opt, sys.path)
    sys.argv[1:] = [handler]
    if sys.flags.no_site:
        import site

        # Without `site` run, a handler would miss `exit` and `quit`; its directories are what had to stay away.
        site.setquit()
        site.setcopyright()
        site.sethelper()
        sys.dont_write_bytecode = True
    if prelude:
        source, descriptor = prelude
        exec(compile(source, "<lamina>", "exec"), {"__name__": "__lamina__", "report_fd": int(descriptor)})  # noqa: S102
    from awslambdaric.__main__ import main as client  # type: ignore[import-untyped]

    client(sys.argv)


if __name__ == "__main__":
    main()
