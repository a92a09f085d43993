"""Tests of a function's environment: visible files and variables, and operations that are blocked."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from built import MINOR, function, make_build
from lamina.bytecode import interpreter
from lamina.core.errors import ConfigError, InvokeError
from lamina.core.supervised.process import RefusedError
from lamina.core.supervised.supervisor import children
from lamina.local.environment import Mode, home_of, prepare
from lamina.local.invoke import ExecutionEnvironment, invoke

if TYPE_CHECKING:
    from collections.abc import Callable

    from built import MakeEnvironment
    from lamina.bytecode.interpreter import Interpreter
    from lamina.local.environment import FunctionEnvironment, Home

_LOOK = "import os, sys\ndef handler(event, context): return "
_SYSTEM_PYTHON = Path("/usr/bin/python3")
_TMP = "/tmp"  # noqa: S108  # Lambda has it under that name


def _ask(environment: FunctionEnvironment, event: object = None) -> Any:
    result = invoke(environment, json.dumps(event).encode())
    assert result.error is None, result.logs
    return json.loads(result.payload)


def _alive(mark: str) -> list[str]:
    """List the processes whose command line contains *mark*, including processes that are about to end."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found


def _mark(tmp_path: Path) -> str:
    """Return a text that only the processes of one test in one run of the tests contain."""
    return f"mark-{os.getpid()}-{tmp_path.name}"


def _wait_for(mark: str, *, least: int) -> None:
    """Wait until at least *least* processes contain *mark*, because a process that forks during the listing may be missed."""
    deadline = time.monotonic() + 60
    while len(_alive(mark)) < least:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_search_path(make_environment: MakeEnvironment, mode: Mode) -> None:
    """The search path is function, layers, runtime, standard library, without packages installed for the interpreter."""
    environment = make_environment(_LOOK + "sys.path", mode=mode)
    where = environment.directories(mode)
    path = _ask(environment)

    assert [
        where.task,
        f"{where.opt}/python/lib/python{MINOR}/site-packages",
        f"{where.opt}/python",
        where.runtime,
    ] == path[:4]
    assert all(entry.startswith(f"{where.lang}/lib/python") for entry in path[4:])


def test_interpreter_is_bare(make_environment: MakeEnvironment, mode: Mode) -> None:
    """Neither the function nor its subprocesses can import packages that are installed for the interpreter."""
    source = (
        "import importlib.util, subprocess, sys\ndef handler(event, context):\n"
        "    names = ('pip', 'pytest', 'lamina')\n"
        "    code = f'import importlib.util; print([importlib.util.find_spec(name) for name in {names}])'\n"
        "    return [str([importlib.util.find_spec(name) for name in names]),"
        " subprocess.check_output([sys.executable, '-c', code], text=True).strip()]"
    )
    own, child = _ask(make_environment(source, mode=mode))

    assert "[None, None, None]" == own
    # In path mode, the packages are visible to an interpreter that the function starts.
    assert mode is Mode.PATH or child == own


def test_environment(make_environment: MakeEnvironment, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function has Lambda's variables, the configured and the additional ones, and none of the host's."""
    monkeypatch.setenv("HOST_SECRET", "leaked")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "leaked")
    settings = function(environment=(("TABLE", "orders"), ("TZ", "Europe/Berlin")))
    environment = make_environment(_LOOK + "dict(os.environ)", mode=mode, settings=settings, additional={"ASKED": "1"})
    found = _ask(environment)

    expected = {
        "_HANDLER": "app.handler",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{MINOR}",
        "AWS_LAMBDA_FUNCTION_NAME": "orders",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/orders",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_EC2_METADATA_DISABLED": "true",
        "LANG": "en_US.UTF-8",
        "TZ": "Europe/Berlin",
        "TABLE": "orders",
        "ASKED": "1",
        "LAMBDA_TASK_ROOT": environment.directories(mode).task,
        "LAMBDA_RUNTIME_DIR": environment.directories(mode).runtime,
    }
    assert expected == {name: found.get(name) for name in expected}
    others = {"AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "PATH", "PYTHONPATH", "LD_LIBRARY_PATH"}
    # The interpreter sets the first, the client the second, and lamina sets HOME to hide the user's home directory.
    assert found.keys() - expected.keys() - others <= {"LC_CTYPE", "_X_AMZN_TRACE_ID", "HOME"}


def test_directories(make_environment: MakeEnvironment, namespace: Mode) -> None:
    """In namespace mode, layer, package and interpreter have Lambda's paths, and files keep the archive's times."""
    source = (
        "import os, sys, time, dep\ndef handler(event, context):\n"
        "    return [__file__, dep.__file__, sys.prefix, os.getcwd(), os.stat(dep.__file__).st_mtime, sorted(os.listdir('/opt'))]"
    )
    found = _ask(make_environment(source, layers=[{"python/dep.py": "", "lib/x": ""}, {"bin/y": ""}], mode=namespace))

    epoch_1980 = 315532800
    assert [
        "/var/task/app.py",
        "/opt/python/dep.py",
        "/var/lang",
        "/var/task",
        epoch_1980,
        ["bin", "lib", "python"],
    ] == found


def test_only_tmp_is_writable(make_environment: MakeEnvironment, namespace: Mode) -> None:
    """In namespace mode, all directories except /tmp are read-only, even for root."""
    source = (
        "import os\ndef handler(event, context):\n    refused = {}\n    for directory in event:\n        try:\n"
        "            open(directory + '/new', 'w').close()\n            refused[directory] = None\n"
        "        except OSError as error:\n            refused[directory] = os.strerror(error.errno)\n    return refused"
    )
    directories = ["/opt", "/opt/python", "/var/task", "/var/runtime", "/var/lang", "/var", "/", "/etc", "/usr"]
    found = _ask(make_environment(source, layers=[{"python/dep.py": ""}], mode=namespace), [*directories, _TMP])

    expected: dict[str, str | None] = dict.fromkeys(directories, "Read-only file system")
    assert {**expected, _TMP: None} == found


def test_tmp_is_private(make_environment: MakeEnvironment, namespace: Mode, tmp_path: Path) -> None:
    """In namespace mode, /tmp starts empty, and files written there do not appear on the host."""
    source = "import os\ndef handler(event, context):\n    open('/tmp/lamina-private', 'w').close()\n    return os.listdir('/tmp')"

    assert ["lamina-private"] == _ask(make_environment(source, mode=namespace))
    assert not Path(_TMP, "lamina-private").exists()


def test_home_is_hidden(make_environment: MakeEnvironment, namespace: Mode) -> None:
    """In namespace mode, the user's home and the project do not exist."""
    source = "import os\ndef handler(event, context): return [os.path.exists(path) for path in event]"
    found = _ask(make_environment(source, mode=namespace), [str(Path.home()), str(Path(__file__).parent)])

    assert [False, False] == found


def test_devices_and_processes(make_environment: MakeEnvironment, namespace: Mode) -> None:
    """In namespace mode, the function can start programs, and sees only its own processes."""
    source = (
        "import os, subprocess\ndef handler(event, context):\n"
        "    subprocess.run(['true'], check=True, stdout=subprocess.DEVNULL)\n"
        "    return len([name for name in os.listdir('/proc') if name.isdigit()])"
    )

    assert _ask(make_environment(source, mode=namespace)) <= 3


def test_later_layers_win(make_environment: MakeEnvironment, mode: Mode) -> None:
    """Files of later layers replace those of earlier ones."""
    layers = [{"python/dep.py": "N = 1", "python/one.py": ""}, {"python/dep.py": "N = 2", "python/two.py": ""}]

    assert 2 == _ask(
        make_environment("import dep, one, two\ndef handler(event, context): return dep.N", layers=layers, mode=mode)
    )


def test_no_bytecode_is_written(make_environment: MakeEnvironment, mode: Mode) -> None:
    """Importing writes no bytecode into the unpacked layer and package, because it would change later measurements."""
    environment = make_environment(
        "import dep\ndef handler(event, context): ...", layers=[{"python/dep.py": ""}], mode=mode
    )
    _ask(environment)

    assert [] == [path for tree in (environment.layer, environment.package) for path in tree.rglob("*.pyc")]


@pytest.mark.parametrize(("mode", "count"), [(Mode.AUTO, 40), (Mode.PATH, 8)])
def test_concurrent_invocations_leave_nothing(make_environment: MakeEnvironment, mode: Mode, count: int) -> None:
    """Concurrent invocations all succeed, and leave no process and no thread."""
    name = f"handler_{os.getpid()}_{count}"
    environment = make_environment(
        f"def {name}(event, context): return event + 1", mode=mode, settings=function(handler=f"app.{name}")
    )
    threads, processes = threading.active_count(), children(os.getpid())
    with ThreadPoolExecutor(count) as pool:
        results = list(pool.map(lambda number: invoke(environment, str(number).encode()), range(count)))

    assert [(str(number + 1).encode(), None) for number in range(count)] == [
        (one.payload, one.error) for one in results
    ]
    assert ([], processes) == (_alive(name), children(os.getpid()))
    deadline = time.monotonic() + 60
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= threads


_DAEMON = """
import subprocess, sys
def handler(event, context):
    code = "import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); time.sleep(60)"
    subprocess.run([sys.executable, "-c", code, event], check=True)
"""


def test_daemons_end_too(make_environment: MakeEnvironment, mode: Mode, tmp_path: Path) -> None:
    """Detached processes of a function end with the function."""
    mark = _mark(tmp_path)
    with ExecutionEnvironment(make_environment(_DAEMON, mode=mode)) as session:
        assert session.invoke(json.dumps(mark).encode()).error is None
        _wait_for(mark, least=1)

    assert [] == _alive(mark)


def test_killing_lamina_ends_the_function(make_environment: MakeEnvironment, mode: Mode, tmp_path: Path) -> None:
    """When lamina is killed, its functions and their detached processes end too."""
    mark = _mark(tmp_path)
    environment = make_environment(
        _DAEMON + "    import time; print('asleep', flush=True); time.sleep(60)\n", mode=mode
    )
    code = (
        "import sys\nfrom pathlib import Path\nfrom lamina.bytecode import interpreter\nfrom lamina.local.artifacts import read\n"
        "from lamina.local.invoke import invoke\nfrom lamina.local.environment import Mode, home_of, prepare\n"
        "from lamina.project.service import Function\n"
        "project, python, mode, mark = sys.argv[1:]\nartifacts = read(Path(project))\n"
        "settings = Function(name='orders', handler='app.handler', layers=(), memory_mb=256, timeout_seconds=60)\n"
        f"home = home_of(interpreter.find({sys.version_info[:2]}, explicit=Path(python)))\n"
        "environment = prepare(artifacts, artifacts.build.packages[0], settings, mode=Mode(mode), home=home)\n"
        "invoke(environment, f'\"{mark}\"'.encode(), on_log=lambda text: print(text, end='', flush=True))\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path), str(environment.home.interpreter.path), mode.value, mark]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "asleep" not in (line := process.stdout.readline()):
            assert line, "the process ended before the handler ran"
            assert process.poll() is None
        _wait_for(mark, least=2)
        process.kill()

    deadline = time.monotonic() + 60
    while _alive(mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [] == _alive(mark)


def test_refused_namespace(make_environment: MakeEnvironment, tmp_path: Path) -> None:
    """If the kernel refuses a namespace, the function runs in path mode, and the result contains the reason."""
    environment = replace(make_environment(_LOOK + "1"), scratch=tmp_path / "missing")
    result = invoke(environment, b"{}")

    assert (b"1", Mode.PATH) == (result.payload, result.mode)
    assert result.mode_reason is not None
    assert result.mode_reason.startswith("this system does not allow mount namespaces: ")


def test_demanded_namespace(make_environment: MakeEnvironment, tmp_path: Path) -> None:
    """If namespace mode is required, a refused namespace is an error."""
    environment = replace(make_environment("", mode=Mode.NAMESPACE), scratch=tmp_path / "missing")
    with pytest.raises(RefusedError):
        invoke(environment, b"{}")


def test_reserved_variables(make_environment: MakeEnvironment) -> None:
    """The error lists all reserved variables that a function sets."""
    environment = make_environment(
        "", settings=function(environment=(("AWS_REGION", "x"), ("LAMBDA_TASK_ROOT", "y"), ("OK", "z")))
    )
    with pytest.raises(ConfigError) as caught:
        invoke(environment, b"{}")

    expected = "function `orders` sets environment variables that Lambda reserves: `AWS_REGION`, `LAMBDA_TASK_ROOT`"
    assert expected == str(caught.value)


def test_foreign_machine_code(tmp_path: Path, home: Home) -> None:
    """Compiled wheels for another architecture are rejected by name; pure Python wheels run anywhere."""
    other = "arm64" if platform.machine() == "x86_64" else "x86_64"
    package = {"app.py": "def handler(event, context): return 1"}
    pure = make_build(tmp_path / "pure", package, layers=[{}], architecture=other, wheels=["a-1-py3-none-any.whl"])
    native = make_build(
        tmp_path / "native",
        package,
        layers=[{}],
        architecture=other,
        wheels=["a-1-py3-none-any.whl", "b-1-cp313-x.whl"],
    )
    assert b"1" == invoke(prepare(pure, pure.build.packages[0], function(), home=home), b"{}").payload

    with pytest.raises(InvokeError) as caught:
        prepare(native, native.build.packages[0], function(), home=home)

    machine = f"{platform.system()} on {platform.machine()}"
    expected = f"this machine is {machine}, but the layers contain wheels for Linux on {other}: `b-1-cp313-x.whl`"
    assert expected == str(caught.value)


@pytest.mark.parametrize("minor", ["3.10", "3.12", "3.13"])
def test_other_minor(tmp_path: Path, minor: str, installed_python: Callable[[tuple[int, int]], Interpreter]) -> None:
    """A function runs on its target's minor version of Python, independent of lamina's own."""
    found = installed_python((3, int(minor[2:])))
    artifacts = make_build(tmp_path, {"app.py": _LOOK + "list(sys.version_info[:2])"}, runtime=f"python{minor}")
    environment = prepare(artifacts, artifacts.build.packages[0], function(), home=home_of(found))

    assert list(found.version[:2]) == _ask(environment)


def test_ordinary_user(tmp_path: Path, namespace: Mode) -> None:
    """An ordinary user's function has the same environment as root's."""
    if os.geteuid() != 0:
        assert "namespace" == namespace.value
        return
    version = subprocess.check_output([_SYSTEM_PYTHON, "-c", "import sys; print(*sys.version_info[:2])"], text=True)
    minor = tuple(map(int, version.split()))
    if minor < (3, 11):
        pytest.skip(f"lamina needs an interpreter that everybody may run, and {_SYSTEM_PYTHON} is {minor}")
    source = (
        "import os\ndef handler(event, context):\n    try:\n        open('/opt/new', 'w')\n    except OSError as error:\n"
        "        return [os.getuid(), os.strerror(error.errno), os.getcwd()]"
    )
    code = (
        "import sys\nfrom pathlib import Path\nfrom lamina.bytecode import interpreter\nfrom lamina.local.artifacts import read\n"
        "from lamina.local.invoke import invoke\nfrom lamina.local.environment import Mode, home_of, prepare\n"
        "from lamina.project.service import Function\nartifacts = read(Path(sys.argv[1]))\n"
        "settings = Function(name='orders', handler='app.handler', layers=(), memory_mb=256, timeout_seconds=60)\n"
        "home = home_of(interpreter.find(sys.version_info[:2], explicit=Path(sys.executable)))\n"
        "environment = prepare(artifacts, artifacts.build.packages[0], settings, home=home)\n"
        "result = invoke(environment, b'{}')\nprint(result.mode, result.mode_reason, result.payload.decode())\n"
    )
    # Other users have no access to pytest's own directories.
    project = Path(_TMP) / f"lamina-{os.getpid()}-ordinary"
    make_build(project, {"app.py": source}, layers=[{"python/dep.py": ""}], runtime=f"python{minor[0]}.{minor[1]}")
    packages = os.pathsep.join([str(Path(interpreter.__file__).parents[2]), *sys.path])
    try:
        subprocess.run(["chown", "-R", "65534:65534", project], check=True)
        answer = subprocess.run(
            [_SYSTEM_PYTHON, "-B", "-s", "-c", code, str(project)],
            capture_output=True,
            check=False,
            cwd="/",
            env={"PYTHONPATH": packages, "PATH": "/usr/bin:/bin"},
            extra_groups=[],
            group=65534,
            text=True,
            user=65534,
        )
    finally:
        subprocess.run(["rm", "-rf", project], check=True)

    assert ('namespace None [65534, "Read-only file system", "/var/task"]\n', "") == (answer.stdout, answer.stderr)
