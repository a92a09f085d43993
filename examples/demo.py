"""
Build the example service, prove that what was built works, build it again, and deploy it: ``make demo``.

The proof runs every handler on its example event under the target's own Python, with nothing on the path but the
standard library, the unpacked layer and the unpacked function package. What is deployed is a copy of the example, and AWS is emulated
on this machine (``deploying.py``).
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
    """Return 0 if everything was built, and proven as far as this machine can."""
    target = configured_target()
    interpreter = search(target.python)
    project = ORDERS if interpreter else without_bytecode()
    if interpreter is None:
        version = ".".join(map(str, target.python))
        say(
            f"There is no CPython {version} on this machine, so this demo builds without bytecode and proves no import."
        )
        say(f"One way to get it: uv python install {version}")
    # An earlier demo would leave nothing to see; what it fetched is still in the store.
    shutil.rmtree(project / ".lamina", ignore_errors=True)
    say("$ lamina build --project examples/orders")
    if code := lamina("build", "--project", str(project)):
        return code
    if interpreter:
        say(f"\nEvery handler, under {interpreter.path} with only its layer and its package:")
        if code := prove(project, interpreter.path):
            return code
    say("\n$ lamina build --project examples/orders")
    if code := lamina("build", "--project", str(project)):
        return code
    if code := deploy(project, invoke=interpreter is not None):
        return code
    if interpreter is None:
        say("\nBuilt and deployed, but neither proven to import nor invoked: see the first line.")
    return 0


def deploy(project: Path, *, invoke: bool) -> int:
    """Deploy a copy of *project* to an emulated AWS, which is gone afterwards."""
    copy = HERE.parent / "build" / "demo" / "deployed"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".lamina", "__pycache__"))
    with (copy / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(SETTINGS)
    say("\n$ lamina sandbox -- python examples/deploying.py")
    words = [str(HERE / "deploying.py"), str(copy), "invoke" if invoke else "no-invoke"]
    return lamina("sandbox", "--project", str(copy), "--", sys.executable, *words)


def configured_target() -> Target:
    """Return what the example is built for."""
    table = tomllib.loads((ORDERS / "pyproject.toml").read_text("utf-8"))["tool"]["lamina"]
    return Target.of(table["runtime"], table["architecture"])


def without_bytecode() -> Path:
    """Return a copy of the example that does not ask for bytecode, which only the target's own Python can make."""
    copy = HERE.parent / "build" / "demo" / "orders"
    shutil.copytree(ORDERS, copy, ignore=shutil.ignore_patterns(".lamina", "__pycache__"), dirs_exist_ok=True)
    configuration = copy / "pyproject.toml"
    text = re.sub(r"(?m)^bytecode = .*$", 'bytecode = "none"', configuration.read_text("utf-8"))
    configuration.write_text(text, "utf-8")
    return copy


def prove(project: Path, interpreter: Path) -> int:
    """Run every handler; return 1 if one does not answer as its example says."""
    functions = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["tool"]["lamina"]["functions"]
    with tempfile.TemporaryDirectory(prefix="lamina-demo-") as directory:
        opt = Path(directory, "opt")
        for layer in sorted((project / ".lamina" / "layers").glob("*.zip")):
            unpack(layer, opt)

        def answer(name: str) -> tuple[str, subprocess.CompletedProcess[str]]:
            task = Path(directory, "task", name)
            unpack(project / ".lamina" / "functions" / f"{name}.zip", task)
            arguments = [str(task), str(opt / "python"), functions[name], str(project / "events"), name]
            # Neither this environment's variables nor its site-packages: -I and -S; and no bytecode written: -B.
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
    """Unpack *archive* as Lambda does: everything, under *directory*."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(directory)


def lamina(*arguments: str) -> int:
    """Run lamina as a user would; its output passes through."""
    return subprocess.run([sys.executable, "-m", "lamina", *arguments], check=False).returncode


def say(words: str) -> None:
    """Print at once, because subprocesses print too."""
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main())
