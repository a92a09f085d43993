"""The tutorial and the guides work as written: their edits and their `$ ` commands run in the order given, without a network."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import rtoml

import lamina
from distributions import serve, wheel
from emulators import REGION, ministack_server
from lamina.bytecode.interpreter import environment_variable
from loopback import IndexServer
from sourceprojects import git
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from emulators import Emulator

__all__ = ["ministack_server", "wheel"]

DOCS: Final = Path(__file__).parents[2] / "docs"
TUTORIAL: Final = DOCS / "tutorial.md"
README: Final = DOCS.parent / "README.md"
INSTALL: Final = DOCS / "how-to" / "install.md"
TOOLS: Final = ("curl", "git", "sh", "unzip")
MINOR: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
SECONDS: Final = 60
"""The longest time that a command may need."""

CANNOT_RUN: Final = {
    r"pipx ": "needs pipx, which is not a development dependency",
    r"poetry ": "needs Poetry, which is not a development dependency",
    r"uv python install ": "downloads a Python",
    r"make ": "installs into the checkout; `.ci/run` runs it",
    r"pytest --lamina-venv": "needs lamina in the environment of the project; `tests/audit/test_pytest_plugin.py` runs it",
    r"npx ": "needs Node.js and the AWS CDK; `make cdk` runs it",
    r"sam ": "needs the AWS SAM CLI",
    r"lamina audit(?! --advisories none)": "asks OSV itself; `tests/cli/test_audit.py` runs it with one on loopback",
    r"lamina coldstart --aws ": "needs the logs of real functions",
    r"lamina coldstart .*--(budget-ms|max-regression) ": "depends on the speed of the machine",
    r"systemd-run ": "needs a systemd session of the user",
}
"""The commands that these tests do not run, as regular expressions for their beginning, and why."""

INSTALLS: Final = {
    r"pip install ": "installs lamina, which the installation page does",
    r"uv tool install ": "installs lamina, which the installation page does",
}
"""The commands that only the test of the installation page runs."""

STAND_INS: Final = {
    "python3.13": f"python{MINOR}",
    ">=3.13": f">={MINOR}",
    "PYTHON_3_13": f"PYTHON_{MINOR.replace('.', '_')}",
    "uv python find 3.13": f"uv python find {MINOR}",
    "--python-version 3.13": f"--python-version {MINOR}",
    # Without this option, lamina downloads the server for the target's Python.
    "lamina sandbox": f"lamina sandbox --python {shlex.quote(sys.executable)}",
    # Each cold start takes a tenth of a second.
    "--repeat 5": "--repeat 1",
    "--repeat 9": "--repeat 2",
    "--write-baseline": "--write-baseline --repeat 1",
    "--html ": "--repeat 1 --html ",
    "--svg ": "--repeat 1 --svg ",
}
"""Text that these tests replace in a page: the Python version, and what would download something or take long."""

FAKES: Final = {
    "pydantic": """\
class PositiveInt(int):
    pass


class ValidationError(ValueError):
    pass


class BaseModel:
    @classmethod
    def model_validate(cls, values):
        quote = cls()
        quote.__dict__.update(values)
        if quote.pieces <= 0:
            raise ValidationError("1 validation error for " + cls.__name__)
        return quote

    def model_dump(self):
        return dict(self.__dict__)
""",
    "jinja2": """\
import re


class Template:
    def __init__(self, text):
        self.text = text

    def render(self, **values):
        return re.sub(r"{{ (\\w+)\\.(\\w+) }}", lambda found: str(getattr(values[found[1]], found[2])), self.text)
""",
    "numpy": "import sys\n\n\ndef mean(values):\n    return sum(values) / len(values)\n",
}
"""Small replacements for the packages that the tutorial's service imports."""

pytestmark = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command of a page."""

    line: str
    output: str
    """The sample output below the command, and below those in `typed`."""
    typed: str = ""
    """The lines that follow for the shell that the command starts."""

    @property
    def fails(self) -> bool:
        """Whether the page shows that the command fails."""
        return re.search(r"(?m)^(error:|\[ERROR\])", self.output) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """A code block of a page that changes a file of the project."""

    path: str
    language: str
    text: str
    whole: bool
    """Whether the text is the whole file, and not a change of it."""

    def apply(self, project: Path) -> None:
        """Write the file, replace the lines of a diff, or merge a table of TOML."""
        path = project / self.path
        if self.language == "diff":
            removed, added = (
                "".join(f"{line[1:]}\n" for line in self.text.splitlines() if line.startswith(sign)) for sign in "-+"
            )
            text = path.read_text("utf-8")
            assert removed in text
            path.write_text(text.replace(removed, added), "utf-8")
        elif self.whole:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text, "utf-8")
        else:
            merged = merge(tomllib.loads(path.read_text("utf-8")), tomllib.loads(self.text))
            path.write_text(rtoml.dumps(merged), "utf-8")


def merge(table: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return *table* with the keys of *more*, which replace or extend its own."""
    merged = dict(table)
    for key, value in more.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def steps(page: Path) -> list[Command | Edit]:
    """Return the commands of *page* in their order, and the edits before the last of them."""
    found: list[Command | Edit] = []
    blocks = re.findall(r"(?ms)(?:^`([\w./-]+)`:\n\n)?^```(\w+)\n(.*?)^```$", page.read_text("utf-8"))
    for path, language, block in blocks:
        if language == "console":
            found += commands(block)
        elif path:
            found.append(Edit(path=path, language=language, text=block, whole=language != "diff"))
        elif language == "toml":
            found.append(Edit(path="pyproject.toml", language=language, text=block, whole=False))
    last = max((number for number, step in enumerate(found) if isinstance(step, Command)), default=-1)
    return found[: last + 1]


def commands(block: str) -> Iterator[Command]:
    """Yield the commands of a *block* with their output; a shell that one of them starts reads the rest."""
    pairs = re.findall(r"(?ms)^\$ ((?:.*?\\\n)*?.*?)\n(.*?)(?=^\$ |\Z)", block)
    for number, (line, output) in enumerate(pairs):
        if line.endswith(" -- sh"):
            typed = "".join(f"{each}\n" for each, _ in pairs[number + 1 :])
            shown = "".join(each for _, each in pairs[number:])
            yield Command(line=line, output=shown, typed=f"set -e\n{typed}")
            return
        yield Command(line=line, output=output)


def reason_to_skip(command: Command, *, installs: bool = False) -> str | None:
    """Return why *command* cannot run here, or None. With *installs*, commands that install lamina can run."""
    reasons = CANNOT_RUN if installs else CANNOT_RUN | INSTALLS
    return next((why for pattern, why in reasons.items() if re.match(pattern, command.line)), None)


@dataclass(kw_only=True, slots=True)
class Reader:
    """Follow a page in one shell and one directory."""

    directory: Path
    environment: Mapping[str, str]
    stand_ins: Mapping[str, str]
    project: Path
    """The directory whose files the page edits."""
    installs: bool = False
    """Whether the commands that install lamina run too."""
    failures: list[str] = field(default_factory=list)

    def follow(self, page: Path) -> None:
        """Apply the edits and run the commands of *page*. Stop at the first unexpected result, and record it in `failures`."""
        logs = self.directory / "logs"
        logs.mkdir()
        place = self.project if self.project.exists() else self.directory
        with shell(place, self.environment) as process:
            for number, step in enumerate(steps(page)):
                if isinstance(step, Edit):
                    text = self.replaced(step.text)
                    Edit(path=step.path, language=step.language, text=text, whole=step.whole).apply(self.project)
                elif reason_to_skip(step, installs=self.installs) is None:
                    self.run(step, process, logs / str(number))
                if self.failures:
                    return

    def run(self, command: Command, process: subprocess.Popen[str], log: Path) -> None:
        """Run *command*, and compare its exit code, its errors and the JSON that it prints with the page."""
        assert process.stdin is not None
        log.with_suffix(".in").write_text(self.replaced(command.typed), "utf-8")
        process.stdin.write(f"{{ {self.replaced(command.line)}\n}} <{log}.in >{log}.out 2>{log}.err; echo $?\n")
        process.stdin.flush()
        code = answer(process, command.line)
        if command.line.endswith(" &"):
            # The page tells the reader to wait for the first line.
            wait(lambda: log.with_suffix(".err").stat().st_size > 0, command.line)
        failed = code != "0\n"
        errors = log.with_suffix(".err").read_text("utf-8")
        shown = re.findall(r"(?m)^(?:error|hint): .+$", command.output)
        unlike = [line for line in shown if line not in errors.replace(f"{self.project}/", "")]
        answers = re.findall(r'(?m)^\{".+\}$', command.output)
        unlike += [line for line in answers if line not in log.with_suffix(".out").read_text("utf-8")]
        if failed != command.fails or unlike:
            self.failures.append("\n".join((f"$ {command.line}", errors, *(f"not shown: {line}" for line in unlike))))

    def replaced(self, text: str) -> str:
        """Return *text* with each stand-in in place of the original."""
        for old, new in self.stand_ins.items():
            text = text.replace(old, new)
        return text


@contextmanager
def shell(directory: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a shell in *directory*; end it and its background processes afterwards."""
    process = subprocess.Popen(
        ["sh"],
        cwd=directory,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


def answer(process: subprocess.Popen[str], what: str) -> str:
    """Return the line that the shell writes after the command *what*; empty if the shell has ended."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], SECONDS)[0]:
        pytest.fail(f"`{what}` did not end within {SECONDS} seconds")
    return process.stdout.readline()


def wait(done: Callable[[], bool], what: str) -> None:
    """Wait until *done* returns true."""
    end = time.monotonic() + SECONDS
    while not done():
        if time.monotonic() > end:
            pytest.fail(f"`{what}` did not end within {SECONDS} seconds")
        time.sleep(0.005)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The environment that all pages share: an index, a store, and the project from the first part of the tutorial."""

    root: Path
    environment: dict[str, str]
    stand_ins: Mapping[str, str]

    def reader(self, directory: Path, emulator: Emulator, number: int) -> Reader:
        """Return a reader with its own copy of the project and its own account, which has *number*."""
        account = f"{number:012}"
        location = {"LocationConstraint": REGION}
        storage = emulator.client("s3", account=account)
        for bucket in (f"artifacts-{account}-{REGION}", "team-artifacts"):
            storage.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
        aws = {
            "AWS_ENDPOINT_URL": emulator.url,
            "AWS_ACCESS_KEY_ID": account,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        shutil.copytree(self.root / "quotes", directory / "quotes")
        return Reader(
            directory=directory,
            environment=self.environment | aws,
            stand_ins=self.stand_ins,
            project=directory / "quotes",
        )


def environment_of(root: Path, index: str) -> dict[str, str]:
    """Return environment variables with tools, a store and an index. A proxy that does not exist blocks other networks."""
    stand_in = root / "bin" / "aws"
    stand_in.parent.mkdir()
    places = dict.fromkeys(Path(found).parent for found in map(shutil.which, TOOLS) if found)
    # The guides create a bucket with the AWS CLI, which is not a development dependency.
    stand_in.write_text(
        f"#!{sys.executable}\nimport boto3, sys\n"
        "assert sys.argv[1:3] == ['s3', 'mb']\n"
        "boto3.client('s3').create_bucket(Bucket=sys.argv[3].removeprefix('s3://'))\n"
    )
    stand_in.chmod(0o755)
    return {
        # Not the whole `PATH`, because some commands start every Python that is there.
        "PATH": os.pathsep.join(map(str, (stand_in.parent, Path(sys.executable).parent, *places))),
        "HOME": str(root),
        "PYTHONPATH": str(Path(lamina.__file__).parents[1]),
        "VIRTUAL_ENV": sys.prefix,
        "LAMINA_CACHE_DIR": str(root / "store"),
        environment_variable(sys.version_info[:2]): sys.executable,
        "UV_CACHE_DIR": str(root / "uv-cache"),
        "UV_DEFAULT_INDEX": index,
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
        "GIT_CEILING_DIRECTORIES": str(root),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def make_wheels(directory: Path) -> None:
    """Build small wheels of the packages that the tutorial and the guides require."""
    make_wheel(directory, "markupsafe", "3.0.3")
    make_wheel(directory, "pydantic", "2.12.4", {"pydantic/__init__.py": FAKES["pydantic"]})
    make_wheel(directory, "numpy", "2.3.5", {"numpy/__init__.py": FAKES["numpy"], "numpy/tests/test_mean.py": ""})
    make_wheel(directory, "pytest", "9.0.1")
    for version in ("3.1.5", "3.1.6"):
        files = {"jinja2/__init__.py": FAKES["jinja2"], "jinja2/py.typed": ""}
        make_wheel(directory, "jinja2", version, files, requires=["markupsafe"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Serve the wheels, and create the project as in the tutorial, up to `lamina init`."""
    root = tmp_path_factory.mktemp("guides")
    make_wheels(root / "wheels")
    with IndexServer(root / "wheels") as index, IndexServer(root / "wheels", users={"aws": "secret"}) as private:
        environment = environment_of(root, index.simple) | {"TOKEN": "secret"}
        stand_ins = STAND_INS | {"https://index.example/simple": private.simple}
        reader = Reader(directory=root, environment=environment, stand_ins=stand_ins, project=root / "quotes")
        for step in steps(TUTORIAL):
            if isinstance(step, Edit) and step.whole:
                Edit(path=step.path, language="", text=reader.replaced(step.text), whole=True).apply(reader.project)
        tests = reader.project / "tests"
        tests.mkdir()
        (tests / "test_create.py").write_text("def test_imports():\n    import service.handlers.create\n")
        for command in (["uv", "lock", "-q"], ["lamina", "init", "-q"]):
            subprocess.run(command, cwd=reader.project, env=environment, check=True)
        (reader.project / ".gitignore").write_text(".lamina/\n__pycache__/\n")
        git(reader.project, "init", "--quiet", "--initial-branch", "main")
        git(reader.project, "add", ".")
        git(reader.project, "commit", "--quiet", "--message", "one")
        yield Place(root=root, environment=environment, stand_ins=stand_ins)


def guides() -> list[Path]:
    pages = [page for page in sorted((DOCS / "how-to").glob("*.md")) if page != INSTALL]
    return [page for page in pages if any(map(runs, steps(page)))]


def runs(step: Command | Edit) -> bool:
    return isinstance(step, Command) and reason_to_skip(step) is None


def prepare(page: str, reader: Reader, place: Place, emulator: Emulator) -> None:
    """Create what the text of *page* assumes."""

    def run(*command: str) -> None:
        subprocess.run(command, cwd=reader.project, env=reader.environment, check=True, capture_output=True)

    match page:
        case "check-environment":
            run("uv", "sync", "-q", "--python", sys.executable)
        case "deploy":
            run("lamina", "deploy", "-q", "--create", "--role", "arn:aws:iam::000000000000:role/any")
        case "private-indexes":
            shutil.copytree(place.root / "wheels", reader.project / "wheels")
        case "report":
            run("lamina", "audit", "--advisories", "none", "--format", "json", "--output", "audit.json")
            run("lamina", "audit", "--advisories", "none", "--sbom", "sbom.json")
        case "start-in-an-existing-repository":
            reader.project = reader.directory / "repositories"
            lock = reader.project / "shop"
            lock.mkdir(parents=True)
            shutil.copy(reader.directory / "quotes" / "uv.lock", lock)
            text = (reader.directory / "quotes" / "pyproject.toml").read_text("utf-8")
            (lock / "pyproject.toml").write_text(text.partition("[tool.lamina]")[0], "utf-8")
        case "workspaces":
            root = reader.directory / "repository"
            for name in ("billing", "orders"):
                shutil.copytree(reader.project, root / "services" / name)
            reader.project = root
        case _:
            pass


@pytest.mark.parametrize("page", guides(), ids=lambda page: page.stem)
def test_a_guide_runs(page: Path, place: Place, tmp_path: Path, ministack_server: Emulator) -> None:
    """Every command of a guide succeeds after the commands and edits above it, unless the guide shows an error."""
    reader = place.reader(tmp_path, ministack_server, guides().index(page) + 1)
    prepare(page.stem, reader, place, ministack_server)
    reader.follow(page)

    assert [] == reader.failures


def test_the_installation_page_runs(place: Place, wheel: Path, tmp_path: Path) -> None:
    """Every command of the page works in the order given, with lamina's own wheel in an index, and so do the jobs for CI."""
    wheels, tools = tmp_path / "wheels", tmp_path / "tools"
    serve(wheel, wheels, extras=("local",), others=("hatchling",))
    make_wheels(wheels)
    make_wheel(wheels, "boto3", "1.44.0")
    tools.mkdir()
    for program in ("uv", "uvx"):
        (tools / program).symlink_to(Path(sys.executable).with_name(program))
    (tools / "python").symlink_to(sys.executable)
    project = shutil.copytree(place.root / "quotes", tmp_path / "quotes")
    (project / "lamina").symlink_to(DOCS.parent)
    page = INSTALL.read_text("utf-8")
    jobs = "".join(f"$ {line}\n" for line in re.findall(r"(?m)^ +- (?:run: )?(uv .+)$", page))
    assert "uv run lamina build" in jobs
    guide = tmp_path / "guide.md"
    guide.write_text(page.replace("## Extras\n", f"```console\n{jobs}```\n\n## Extras\n"), "utf-8")
    with IndexServer(wheels) as index:
        environment = place.environment | {
            "PATH": os.pathsep.join((str(tmp_path / "bin"), str(tools), os.defpath)),
            "LAMINA_CACHE_DIR": str(tmp_path / "store"),
            "UV_DEFAULT_INDEX": index.simple,
            "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
            "UV_TOOL_DIR": str(tmp_path / "environments"),
            "PIP_INDEX_URL": index.simple,
            "PIP_CONFIG_FILE": os.devnull,
        }
        del environment["PYTHONPATH"], environment["VIRTUAL_ENV"]
        reader = Reader(
            directory=tmp_path, environment=environment, stand_ins=place.stand_ins, project=project, installs=True
        )
        reader.follow(guide)

    assert [] == reader.failures
    assert [] == list((tmp_path / "bin").iterdir())


def test_the_readme_installs_lamina_as_the_installation_page_does() -> None:
    """The first command of the README is on the installation page, which a test runs."""
    first = next(step for step in steps(README) if isinstance(step, Command))

    assert first in [step for step in steps(INSTALL) if isinstance(step, Command)]


def test_the_tutorial_runs(place: Place, tmp_path: Path) -> None:
    """Every command of the tutorial works in an empty directory, with small wheels instead of the real ones."""
    reader = Reader(
        directory=tmp_path,
        environment=place.environment,
        stand_ins=place.stand_ins,
        project=tmp_path / "quotes",
    )
    reader.follow(TUTORIAL)

    assert [] == reader.failures


def test_the_readme_runs(place: Place, tmp_path: Path) -> None:
    """The commands of the README work in this order, in a project like the example that is not configured yet."""
    project = tmp_path / "orders"
    handlers = project / "service" / "handlers"
    handlers.mkdir(parents=True)
    (handlers / "create_order.py").write_text(
        "import jinja2\n\n\ndef lambda_handler(event, context):\n    return event\n"
    )
    (project / "events").mkdir()
    (project / "events" / "create-order.json").write_text("{}")
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "orders"\nversion = "1"\nrequires-python = ">={MINOR}"\ndependencies = ["jinja2"]\n'
    )
    subprocess.run(["uv", "lock", "-q"], cwd=project, env=place.environment, check=True)
    reader = Reader(directory=tmp_path, environment=place.environment, stand_ins=place.stand_ins, project=project)
    reader.follow(README)

    assert [] == reader.failures


@pytest.mark.live
def test_the_tutorial_runs_with_the_real_index(tmp_path: Path) -> None:
    """Every command of the tutorial works in an empty directory, with the runtime and the versions that it names."""
    environment = os.environ | {"LAMINA_CACHE_DIR": str(tmp_path / "store")}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment["PATH"]))
    reader = Reader(directory=tmp_path, environment=environment, stand_ins={}, project=tmp_path / "quotes")
    reader.follow(TUTORIAL)

    assert [] == reader.failures


def test_every_exception_is_needed() -> None:
    """Each entry of `CANNOT_RUN` and `INSTALLS` matches a command on a page."""
    pages = (README, TUTORIAL, *sorted((DOCS / "how-to").glob("*.md")))
    lines = [step.line for page in pages for step in steps(page) if isinstance(step, Command)]

    assert [] == [pattern for pattern in CANNOT_RUN | INSTALLS if not any(re.match(pattern, line) for line in lines)]


@pytest.mark.parametrize(
    ("block", "failures"),
    [
        ("$ true\n$ export A=1\n$ test $A = 1\n", 0),
        ("$ false\n", 1),
        ("$ true\nerror: no\n", 1),
        ("$ echo error: no >&2; false\nerror: no\n", 0),
        ("$ echo error: yes >&2; false\nerror: no\n", 1),
    ],
)
def test_a_command_that_fails_is_noticed(block: str, failures: int, place: Place, tmp_path: Path) -> None:
    """A command must fail exactly if the page shows an error, and must print that error."""
    page = tmp_path / "page.md"
    page.write_text(f"```console\n{block}```\n")
    reader = Reader(directory=tmp_path, environment=place.environment, stand_ins={}, project=tmp_path)
    reader.follow(page)

    assert failures == len(reader.failures)
