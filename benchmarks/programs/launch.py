"""
Run and measure commands: read one JSON job per line of stdin, and write one JSON answer per line of stdout.

A process's peak memory includes its memory before `exec`, and a forked child starts with its parent's memory. So this small program
starts the commands instead of the benchmark itself.
"""

import json
import os
import sys
import time
from typing import Any


def run(job: dict[str, Any]) -> dict[str, object]:
    os.chdir(job["directory"])
    argv = job["argv"]
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, job["stdout"], write, 0o644),
        (os.POSIX_SPAWN_OPEN, 2, job["stderr"], write, 0o644),
    ]
    start = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, job["environment"], file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - start
    # Linux reports KiB, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * unit,
    }


for line in sys.stdin:
    try:
        answer = run(json.loads(line))
    except OSError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
