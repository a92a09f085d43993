"""
Deploy the same functions twice at the same time, with different code, and check that the result is always one whole deployment.

The first round creates the functions.

``make deployers N=20`` runs this program, with 25 functions. The suite runs a few rounds with few functions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from lamina.core.values import code_sha256
from lamina.local.sandbox.installation import bare
from lamina.local.sandbox.server import Sandbox
from services import HANDLER, Service, make_service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FUNCTIONS = 25
_CREATE = ("--create", "--role", "arn:aws:iam::000000000000:role/service")
_PATIENCE_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of one round."""

    codes: tuple[int, int]
    """The exit codes of both deployers."""
    problems: tuple[str, ...]


class Deployers:
    """Two checkouts of one service, which deploy to the same functions."""

    def __init__(
        self, root: Path, environment: Mapping[str, str], *, functions: int, alias: str | None = "live"
    ) -> None:
        """Create both checkouts in *root*. *environment* has the variables for access to an emulated AWS."""
        self._environment = {**environment, "TMPDIR": str(root), "LAMINA_CACHE_DIR": str(root / "store")}
        self._alias = alias
        self._checkouts = [make_service(root / name) for name in ("one", "other")]
        for each in self._checkouts:
            each.functions = {f"f{number:02}": "service.handlers.hello.lambda_handler" for number in range(functions)}
        self._prefix = f"d{os.urandom(5).hex()}"
        self._lambda: Any = boto3.client(
            "lambda",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def create(self) -> Outcome:
        """Create the functions with both deployers at the same time, as in a `round`."""
        return self.round(0, *_CREATE)

    def round(self, number: int, *options: str) -> Outcome:
        """Change the code and a dependency of both checkouts, deploy both at the same time, and compare the functions with both."""
        for turn, service in enumerate(self._checkouts):
            service.add("beta", f"{number + 2}.{turn}", {"beta.py": f"import alpha\nROUND = {number, turn}\n"})
            self._write(service, f"{HANDLER}# {number, turn}\n")
        processes = [self._start(service, *options) for service in self._checkouts]
        said = [process.communicate(timeout=_PATIENCE_SECONDS)[1] for process in processes]
        codes = (processes[0].returncode, processes[1].returncode)
        expected = [
            self._built(service)
            for service in self._checkouts
            if processes[self._checkouts.index(service)].returncode == 0
        ]
        problems = [] if expected else ["both failed", *said]
        for qualifier in ("$LATEST", *([self._alias] if self._alias else [])):
            found = {name: self._found(name, qualifier) for name in self._checkouts[0].functions}
            if found not in expected:
                problems += [f"{qualifier} is a mixture: {sorted(map(str, Counter(found.values()).items()))}", *said]
        aliases = self._lambda.list_aliases(FunctionName=f"{self._prefix}-f00")["Aliases"]
        problems += [f"alias `{row['Name']}` is left" for row in aliases if row["Name"] != self._alias]
        return Outcome(codes=codes, problems=tuple(problems))

    def _write(self, service: Service, handler: str) -> None:
        path = service.write() / "pyproject.toml"
        (service.root / "service" / "handlers" / "hello.py").write_text(handler)
        alias = f'alias = "{self._alias}"\n' if self._alias else ""
        path.write_text(
            f'{path.read_text()}[tool.lamina.publish]\nlayer-name = "{self._prefix}-{{layer}}"\n'
            f'[tool.lamina.deploy]\nfunction-name = "{self._prefix}-{{function}}"\n{alias}'
        )

    def _start(self, service: Service, *options: str) -> subprocess.Popen[str]:
        words = ("deploy", "--region", "us-east-1", "--project", str(service.root), *options)
        return subprocess.Popen(
            [sys.executable, "-m", "lamina", *words],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _built(self, service: Service) -> dict[str, tuple[str, str]]:
        """Return the code of each function of a checkout, and the digest of its layer."""
        build = json.loads((service.root / ".lamina" / "build.json").read_text())
        layer = code_sha256(build["layers"][0]["sha256"])
        return {row["name"]: (code_sha256(row["sha256"]), layer) for row in build["functions"]}

    def _found(self, name: str, qualifier: str) -> tuple[str, str]:
        row = self._lambda.get_function_configuration(FunctionName=f"{self._prefix}-{name}", Qualifier=qualifier)
        (layer,) = row["Layers"]
        return row["CodeSha256"], self._lambda.get_layer_version_by_arn(Arn=layer["Arn"])["Content"]["CodeSha256"]


def run(deployers: Deployers, rounds: int) -> Sequence[Outcome]:
    """Create the functions, and update them in each further round."""
    return [deployers.create(), *(deployers.round(number) for number in range(1, rounds))]


def main() -> int:
    """Run as many rounds as the first argument says, and print the outcomes."""
    rounds = int(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="deployers-") as name, Sandbox(bare(Path(sys.executable))) as sandbox:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        found = run(Deployers(Path(name), environment | sandbox.environment, functions=FUNCTIONS), rounds)
    for codes, count in Counter(tuple(sorted(each.codes)) for each in found).items():
        print(f"{count} rounds ended with {codes[0]} and {codes[1]}")  # noqa: T201
    wrong = [each for each in found if each.problems]
    for each in wrong:
        print(each)  # noqa: T201
    print(f"{rounds} rounds with {FUNCTIONS} functions; {len(wrong)} left something wrong")  # noqa: T201
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
