"""
Set the search path as Lambda does, and start the runtime client. Runs in the function's environment, on Python 3.9 or later.

The variable ``LAMINA_OPT`` is the directory of the layers. Two more are optional: ``LAMINA_PRELUDE`` is Python source to run before the
client, and ``LAMINA_REPORT_FD`` is the number of the file descriptor to which that source writes its report. They are variables and not
arguments, because a wrapper script may change the arguments. The function does not see them.
"""

from __future__ import annotations

import os
import sys


def search_path(opt: str, path: list[str]) -> list[str]:
    """
    Return Lambda's search path: the function's directories, then *path*, which is the interpreter's own search path.

    *path* starts with the directory of this script, Lambda's runtime directory. The result contains that directory only once.
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
    """Run the runtime client, which handles events until the process ends."""
    sys.path[:] = search_path(os.environ.pop("LAMINA_OPT"), sys.path)
    prelude, descriptor = os.environ.pop("LAMINA_PRELUDE", None), os.environ.pop("LAMINA_REPORT_FD", None)
    sys.argv[1:] = [os.environ["_HANDLER"]]
    if sys.flags.no_site:
        import site

        # `-S` keeps the interpreter's installed packages off the search path. It also skips the setup of `exit` and `quit`,
        # which handlers can use on Lambda.
        site.setquit()
        site.setcopyright()
        site.sethelper()
        sys.dont_write_bytecode = True
    if prelude is not None and descriptor is not None:
        exec(compile(prelude, "<lamina>", "exec"), {"__name__": "__lamina__", "report_fd": int(descriptor)})  # noqa: S102
    from awslambdaric.__main__ import main as client  # type: ignore[import-untyped]

    client(sys.argv)


if __name__ == "__main__":
    main()
