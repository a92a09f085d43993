"""
Build the example service, verify that its functions work, build it again, and deploy it: ``make demo``.

The verification runs every handler with its example event under the target's Python. Only the standard library, the unpacked layer and
the unpacked function package can be imported. The deployment is a copy of the example in an emulated AWS on this machine
(``deploying.py``).
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploying import SETTINGS

from lamina.bytecode.interpreter import search
from lamina.core.target import Target

HERE = Path(__file__).parent
ORDERS = HERE / "orders"


def main() -> int:
    """Return 0 if every step succeeded. Without the target's Python, no function is run."""
    target = configured_target()
    interpreter = search(target.python)
    project = ORDERS if interpreter else without_bytecode()
    if interpreter is None:
        version = ".".join(map(str, target.python))
        say(f"CPython {version} is not installed, so this demo builds without bytecode and does not run the functions.")
        say(f"To install it: uv python install {version}")
    # Remove the output of an earlier demo, so that this one builds again. Downloaded wheels stay in the store.
    shutil.rmtree(project / ".lamina", ignore_errors=True)
    say("$ lamina build --project examples/orders")
    if code := lamina("build", "--project", str(project)):
        return code
    if interpreter:
        say(f"\nRunning every handler under {interpreter.path}, with only its layer and its package:")
        if code := prove(project, interpreter.path):
            return code
    say("\n$ lamina build --project examples/orders")
    if code := lamina("build", "--project", str(project)):
        return code
    if code := deploy(project, invoke=interpreter is not None):
        return code
    if interpreter is None:
        say("\nBuilt and deployed, but no function was run: see the first line.")
    return 0


def deploy(project: Path, *, invoke: bool) -> int:
    """Deploy a copy of *project* to an emulated AWS, which stops afterwards."""
    copy = HERE.parent / "build" / "demo" / "deployed"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".lamina", "__pycache__"))
    with (copy / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(SETTINGS)
    say("\n$ lamina sandbox -- python examples/deploying.py")
    words = [str(HERE / "deploying.py"), str(copy), "invoke" if invoke else "no-invoke"]
    return lamina("sandbox", "--project", str(copy), "--", sys.executable, *words)


def configured_target() -> Target:
    """Return the target configured in the example."""
    table = tomllib.loads((ORDERS / "pyproject.toml").read_text("utf-8"))["tool"]["lamina"]
    return Target.of(table["runtime"], table["architecture"])


def without_bytecode() -> Path:
    """Return a copy of the example configured without bytecode, which requires the target's Python."""
    copy = HERE.parent / "build" / "demo" / "orders"
    shutil.copytree(ORDERS, copy, ignore=shutil.ignore_patterns(".lamina", "__pycache__"), dirs_exist_ok=True)
    configuration = copy / "pyproject.toml"
    text = re.sub(r"(?m)^bytecode = .*$", 'bytecode = "none"', configuration.read_text("utf-8"))
    configuration.write_text(text, "utf-8")
    return copy


def prove(project: Path, interpreter: Path) -> int:
    """Run every handler; return 1 if a handler does not return the expected answer."""
    functions = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["tool"]["lamina"]["functions"]
    with tempfile.TemporaryDirectory(prefix="lamina-demo-") as directory:
        opt = Path(directory, "opt")
        for layer in sorted((project / ".lamina" / "layers").glob("*.zip")):
            unpack(layer, opt)

        def answer(name: str) -> tuple[str, subprocess.CompletedProcess[str]]:
            task = Path(directory, "task", name)
            unpack(project / ".lamina" / "functions" / f"{name}.zip", task)
            arguments = [str(task), str(opt / "python"), functions[name], str(project / "events"), name]
            # -I and -S ignore environment variables and site-packages; -B writes no bytecode.
            command = [str(interpreter), "-I", "-S", "-B", str(HERE / "answer.py"), *arguments]
            environment = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_LAMBDA_FUNCTION_NAME": name, "TZ": ":UTC"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            return name, done

        failures = 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for name, done in pool.map(answer, functions):
                say(f"  {name:16}{done.stdout.strip().splitlines()[-1] if done.returncode == 0 else 'FAILED'}")
                if done.returncode:
                    failures += 1
                    say(done.stderr.strip())
    return 1 if failures else 0


def unpack(archive: Path, directory: Path) -> None:
    """Unpack all files of *archive* to *directory*, as Lambda does."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(directory)


def lamina(*arguments: str) -> int:
    """Run the command lamina with *arguments*, show its output, and return its exit code."""
    return subprocess.run([sys.executable, "-m", "lamina", *arguments], check=False).returncode


def say(words: str) -> None:
    """Print *words* without buffering, so that they appear in order with the output of subprocesses."""
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main())
