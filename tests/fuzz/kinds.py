"""
The kinds of input that are fuzzed. Each has a service to start from, a change of its files, a command, and what must be true afterwards.

A change is a mapping of paths to contents, so a failure can be repeated from a file. Common to all kinds: the command ends with a
documented exit code, without a bug of lamina, within `forks.MOST_SECONDS` and `MOST_BYTES`, and without another layer.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from forks import Outcome, run
from fuzz import mutate, server
from lamina.lock import pdmproject, poetryproject
from worlds.table import ARGUMENTS, Place, copied, faults, template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

MOST_BYTES = 300_000_000
_WHEELS = {"alpha": "wheels/alpha-1.0-py3-none-any.whl", "beta": "wheels/beta-2.0-py3-none-any.whl"}

Changes = dict[str, bytes]
"""New contents by path, relative to the place."""


class Kind:
    """One kind of input. Use it as a context manager: a kind may start a server."""

    name: ClassVar[str]
    arguments: ClassVar[Sequence[str]] = ARGUMENTS["build"]

    def __init__(self, directory: Path) -> None:
        """Build a valid service in *directory*, from which every case starts."""
        self._stack = ExitStack()
        self._work = directory / "work"
        self.base = template(directory / "base")
        self.prepare()
        self._expect(self.base, ARGUMENTS["build"])
        self.right = _layers(self.base)
        self.after_build()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def prepare(self) -> None:
        """Change the service before it is built."""

    def after_build(self) -> None:
        """Change the place after the service was built, so that a case has something to do."""

    def valid(self) -> list[Changes]:
        """Return the changes that the cases start from. The command succeeds with them."""
        return [{}]

    def change(self, chance: Random) -> Changes:
        """Return the changes of the next case."""
        raise NotImplementedError

    def judge(self, changes: Changes, place: Place, outcome: Outcome) -> list[str]:
        """Return what is wrong with the layers in *place* after a command that succeeded: by default, all that differs from a valid build."""
        return [] if _layers(place) == self.right else ["another layer"]

    def check(self, changes: Changes) -> tuple[list[str], Outcome]:
        """Run the command of a case, and return what is wrong and the outcome."""
        shutil.rmtree(self._work, ignore_errors=True)
        place = copied(self.base, self._work)
        for path, content in changes.items():
            (place.root / path).write_bytes(content)
        outcome = run(place.case(self.arguments))
        wrong = faults(outcome, place, self.arguments[0])
        if outcome.memory_bytes > MOST_BYTES:
            wrong.append(f"needs {outcome.memory_bytes // 1_000_000} MB")
        if outcome.code == 0:
            wrong += self.judge(changes, place, outcome)
        return wrong, outcome

    def read(self, path: str) -> bytes:
        """Return the valid content of *path*."""
        return (self.base.root / path).read_bytes()

    def serve(self) -> int:
        """Start a server of the files in the directory ``served`` of the case, and return its port."""
        command = [sys.executable, server.__file__, str(self._work / "served")]
        process = self._stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        self._stack.callback(process.kill)
        assert process.stdout is not None
        return int(process.stdout.readline())

    def _expect(self, place: Place, arguments: Sequence[str]) -> None:
        outcome = run(place.case(arguments))
        assert outcome.code == 0, outcome.err


def _layers(place: Place) -> dict[str, str]:
    found = (place.project / ".lamina").glob("**/*.zip")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found if "functions" not in path.parts}


def _contents(data: Path) -> set[bytes]:
    with zipfile.ZipFile(data) as archive:
        return {archive.read(row) for row in archive.infolist()}


class Wheels(Kind):
    """A wheel that is damaged or malicious, but has the SHA-256 in the lock file."""

    name = "wheels"

    def after_build(self) -> None:
        shutil.rmtree(self.base.store)
        shutil.rmtree(self.base.project / ".lamina")

    def change(self, chance: Random) -> Changes:
        path = _WHEELS[chance.choice(sorted(_WHEELS))]
        old = self.read(path)
        new = mutate.archive(chance, old)
        lock = self.read("greeter/pylock.toml").decode()
        lock = lock.replace(hashlib.sha256(old).hexdigest(), hashlib.sha256(new).hexdigest())
        return {path: new, "greeter/pylock.toml": lock.replace(f"size = {len(old)}", f"size = {len(new)}").encode()}

    def judge(self, changes: Changes, place: Place, outcome: Outcome) -> list[str]:
        """Every member of the layer has the content of a member of a wheel, as `zipfile` reads them."""
        [layer] = (place.project / ".lamina" / "layers").glob("*.zip")
        try:
            wheels = set().union(*(_contents(place.root / path) for path in _WHEELS.values()))
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
            return [f"accepts a wheel that cannot be read: {error}"]
        with zipfile.ZipFile(layer) as archive:
            strange = [row.filename for row in archive.infolist() if archive.read(row) not in wheels]
        return [f"member with another content: {name}" for name in strange if not _is_made(name)]


def _is_made(name: str) -> bool:
    """Return whether lamina writes the member *name* of a layer itself."""
    return name.startswith("lamina/") or name.endswith(("/RECORD", "/INSTALLER"))


_SETTINGS = {
    "greeter/uv.toml": b'find-links = ["../wheels"]\nindex-url = "http://127.0.0.1:9/"\nextra-index-url = ["http://127.0.0.1:9/a"]\n'
    b'[pip]\nfind-links = ["../wheels"]\n[[index]]\nname = "own"\nurl = "http://127.0.0.1:9/b"\ndefault = true\n'
    b'explicit = false\nformat = "simple"\n',
    "pip.conf": b"[global]\nindex-url = http://127.0.0.1:9/c\nextra-index-url =\n    http://127.0.0.1:9/d\nno-index = true\n"
    b"[install]\nfind-links = wheels\ncert = none.pem\n",
}


class Configuration(Kind):
    """A configuration, or settings of uv and pip, with any mistake."""

    name = "configuration"

    def prepare(self) -> None:
        del self.base.environment["UV_NO_CONFIG"]
        self.base.environment |= {"PIP_CONFIG_FILE": str(self.base.root / "pip.conf"), "UV_NO_INDEX": "1"}

    def after_build(self) -> None:
        hashes = {name: hashlib.sha256(self.read(path)).hexdigest() for name, path in _WHEELS.items()}
        self._lock = _locks(hashes, self.base.project)["requirements.txt"].encode()

    def valid(self) -> list[Changes]:
        return [{}, self._settings()]

    def change(self, chance: Random) -> Changes:
        if chance.random() < 0.3:
            path = chance.choice(sorted(_SETTINGS))
            change = mutate.toml if path.endswith(".toml") else mutate.text
            return self._settings() | {path: change(chance, _SETTINGS[path])}
        return {"greeter/pyproject.toml": mutate.toml(chance, self.read("greeter/pyproject.toml"))}

    def _settings(self) -> Changes:
        """Return the changes after which the wheels are found with the settings of indexes, as the lock has only hashes."""
        named = self.read("greeter/pyproject.toml").replace(
            b"[tool.lamina]\n", b'[tool.lamina]\nlock = "requirements.txt"\n'
        )
        return {"greeter/pyproject.toml": named, "greeter/requirements.txt": self._lock, **_SETTINGS}

    def judge(self, changes: Changes, place: Place, outcome: Outcome) -> list[str]:
        """The layers that a changed configuration describes are valid zips."""
        damaged = [
            path.name for path in (place.project / ".lamina").glob("**/*.zip") if zipfile.ZipFile(path).testzip()
        ]
        return [f"damaged zip: {name}" for name in damaged]


class Locks(Kind):
    """A lock of any format with any mistake."""

    name = "locks"

    def prepare(self) -> None:
        configuration = self.base.project / "pyproject.toml"
        needs = 'version = "1"\ndependencies = ["alpha", "beta"]\n'
        configuration.write_text(configuration.read_text().replace('version = "1"\n', needs, 1))
        self.base.environment["UV_FIND_LINKS"] = str(self._work / "wheels")
        self.base.environment["UV_NO_INDEX"] = "1"

    def after_build(self) -> None:
        hashes = {name: hashlib.sha256(self.read(path)).hexdigest() for name, path in _WHEELS.items()}
        self._formats = {name: content.encode() for name, content in _locks(hashes, self.base.project).items()}
        self._wheels = set().union(*(_contents(self.base.root / path) for path in _WHEELS.values()))

    def valid(self) -> list[Changes]:
        return [self._locked(name, content) for name, content in self._formats.items()]

    def change(self, chance: Random) -> Changes:
        name = chance.choice(sorted(self._formats))
        change = {"Pipfile.lock": mutate.document, "requirements.txt": mutate.text}.get(name, mutate.toml)
        return self._locked(name, change(chance, self._formats[name]))

    def _locked(self, name: str, content: bytes) -> Changes:
        """Return the changes with which the service has *content* as its lock *name*."""
        configuration = self.read("greeter/pyproject.toml")
        named = configuration.replace(b"[tool.lamina]\n", f'[tool.lamina]\nlock = "{name}"\n'.encode())
        return {f"greeter/{name}": content, "greeter/pyproject.toml": named}

    def judge(self, changes: Changes, place: Place, outcome: Outcome) -> list[str]:
        """Whatever the lock says, a layer has only what is in the wheels."""
        wrong = []
        for layer in (place.project / ".lamina" / "layers").glob("*.zip"):
            with zipfile.ZipFile(layer) as archive:
                names = [row.filename for row in archive.infolist() if archive.read(row) not in self._wheels]
            wrong += [f"member with another content: {name}" for name in names if not _is_made(name)]
        return wrong


def _locks(hashes: Mapping[str, str], project: Path) -> dict[str, str]:
    """Return a lock of alpha 1.0 and beta 2.0 in each format, by its file name, with the hashes of the configuration of *project*."""
    poetry = poetryproject.load(project / "pyproject.toml")
    pdm = pdmproject.load(project / "pyproject.toml")
    assert poetry is not None
    assert pdm is not None
    versions = {"alpha": "1.0", "beta": "2.0"}
    files = {name: Path(path).name for name, path in _WHEELS.items()}
    rows = {name: (versions[name], files[name], hashes[name]) for name in versions}
    default = {
        name: {"hashes": [f"sha256:{sha256}"], "version": f"=={version}"} for name, (version, _, sha256) in rows.items()
    }
    requires = f">={sys.version_info[0]}.{sys.version_info[1]}"
    return {
        "requirements.txt": "".join(
            f"{name}=={version} \\\n    --hash=sha256:{sha256}\n" for name, (version, _, sha256) in rows.items()
        ),
        "Pipfile.lock": json.dumps(
            {
                "_meta": {"hash": {"sha256": "0"}, "pipfile-spec": 6, "requires": {}, "sources": []},
                "default": default,
                "develop": {},
            }
        ),
        "uv.lock": f'version = 1\nrevision = 2\nrequires-python = "{requires}"\n'
        + "".join(
            f'[[package]]\nname = "{name}"\nversion = "{version}"\nsource = {{ registry = "../wheels" }}\n'
            f'wheels = [\n    {{ path = "{file}", hash = "sha256:{sha256}" }},\n]\n'
            for name, (version, file, sha256) in rows.items()
        )
        + '[[package]]\nname = "greeter"\nversion = "1"\nsource = { virtual = "." }\n'
        'dependencies = [\n    { name = "alpha" },\n    { name = "beta" },\n]\n[package.metadata]\n'
        'requires-dist = [\n    { name = "alpha" },\n    { name = "beta" },\n]\n',
        "poetry.lock": "".join(
            f'[[package]]\nname = "{name}"\nversion = "{version}"\ndescription = ""\noptional = false\n'
            f'python-versions = ">=3.8"\ngroups = ["main"]\nfiles = [\n    {{file = "{file}", hash = "sha256:{sha256}"}},\n]\n\n'
            for name, (version, file, sha256) in rows.items()
        )
        + f'[metadata]\nlock-version = "2.1"\npython-versions = "{requires}"\ncontent-hash = "{poetry.hashes[True]}"\n',
        "pdm.lock": f'[metadata]\ngroups = ["default"]\nstrategy = []\nlock_version = "4.5.0"\ncontent_hash = "sha256:{min(pdm.hashes)}"\n\n'
        f'[[metadata.targets]]\nrequires_python = "{requires}"\n\n'
        + "".join(
            f'[[package]]\nname = "{name}"\nversion = "{version}"\nsummary = ""\ngroups = ["default"]\n'
            f'files = [\n    {{file = "{file}", hash = "sha256:{sha256}"}},\n]\n\n'
            for name, (version, file, sha256) in rows.items()
        ),
        "pylock.toml": 'lock-version = "1.0"\ncreated-by = "tests"\n'
        + "".join(
            f'[[packages]]\nname = "{name}"\nversion = "{version}"\nmarker = "python_version > \'3\'"\n[[packages.wheels]]\n'
            f'name = "{file}"\npath = "../wheels/{file}"\nhashes = {{sha256 = "{sha256}"}}\n'
            for name, (version, file, sha256) in rows.items()
        ),
    }


class Store(Kind):
    """A store and records of the last build with any damage: the next build has the same bytes or ends with an error."""

    name = "store"

    def prepare(self) -> None:
        configuration = self.base.project / "pyproject.toml"
        configuration.write_text(configuration.read_text().replace('bytecode = "none"', 'bytecode = "reachable"'))
        handler = self.base.project / "service" / "handlers" / "hello.py"
        handler.write_text(f"import alpha, beta\n{handler.read_text()}")

    def after_build(self) -> None:
        root = self.base.root
        found = [*self.base.store.rglob("*"), *(self.base.project / ".lamina").rglob("*")]
        self._files = sorted(
            path.relative_to(root).as_posix() for path in found if path.is_file() and path.stat().st_size > 0
        )

    def change(self, chance: Random) -> Changes:
        changes = {}
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            path = chance.choice(self._files)
            content = self.read(path)
            other = self.read(chance.choice([each for each in self._files if Path(each).suffix == Path(path).suffix]))
            change = mutate.document if path.endswith(".json") else mutate.raw
            changes[path] = chance.choice((change(chance, content), mutate.raw(chance, content), other))
        # Otherwise nothing is read but the record of the build.
        if chance.random() < 0.8:
            for path in self._files:
                if "/.lamina/layers/" in path or (path.startswith("store/segments/") and chance.random() < 0.5):
                    changes[path] = b""
        return changes


class _Served(Kind):
    """Shared by the kinds that a server of raw responses answers."""

    def change(self, chance: Random) -> Changes:
        names = sorted(path.name for path in (self.base.root / "served").iterdir())
        path = f"served/{chance.choice(names)}"
        old = self.read(path)
        head, _, body = old.partition(b"\r\n\r\n")
        kind = chance.random()
        if kind < 0.1:
            moved = b"HTTP/1.1 302 Found\r\nLocation: /moved\r\nContent-Length: %d\r\nConnection: close" % len(body)
            return {path: chance.choice((moved, mutate.head(chance, moved))) + b"\r\n\r\n" + body, "served/moved": old}
        if kind < 0.4:
            return {path: chance.choice((mutate.head, mutate.head, mutate.text))(chance, head) + b"\r\n\r\n" + body}
        body = self.changed(chance, path, body)
        # Usually with the right length, so that the body is read.
        if chance.random() < 0.9:
            head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head)
        if chance.random() < 0.4:
            head = mutate.media_type(chance, head)
        return {path: head + b"\r\n\r\n" + body}

    def changed(self, chance: Random, path: str, body: bytes) -> bytes:
        """Return another body of the response *path*."""
        return chance.choice((mutate.body, mutate.text, mutate.raw))(chance, body)


class TeamStore(_Served):
    """A team's bucket with any content: a build never fails for its sake, and never has another layer."""

    name = "team-store"

    def prepare(self) -> None:
        configuration = self.base.project / "pyproject.toml"
        text = configuration.read_text().replace('bytecode = "none"', 'bytecode = "reachable"')
        configuration.write_text(text.replace("[tool.lamina]\n", '[tool.lamina]\nstore = "s3://team/cache"\n'))
        self._port = self.serve()
        self.base.environment |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }

    def after_build(self) -> None:
        shutil.copytree(self._work / "served", self.base.root / "served")
        shutil.rmtree(self.base.store)
        shutil.rmtree(self.base.project / ".lamina")

    def check(self, changes: Changes) -> tuple[list[str], Outcome]:
        wrong, outcome = super().check(changes)
        return wrong + (["fails for the sake of the team's store"] if outcome.code not in {0, None} else []), outcome


@cache
def _bombs() -> tuple[tuple[bytes, bytes], ...]:
    """Return header lines and bodies of pages that are much larger, or slower to read, than they look."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(compressor.compress(b"<a href=x>x</a>" * 100_000) for _ in range(400)) + compressor.flush()
    pieces = (b"<!--", b"</a ", b"<![CDATA[", b"<a href='a-1.0.zip'>a-1.0.zip</a>\n", b"&#99999999;")
    return ((b"Content-Encoding: gzip\r\n", packed), *((b"", piece * 200_000) for piece in pieces))


class IndexPages(_Served):
    """Index pages and files with any content: the build has the same layer or ends with an error."""

    name = "index-pages"

    def prepare(self) -> None:
        port = self.serve()
        self.base.environment |= {"UV_DEFAULT_INDEX": f"http://127.0.0.1:{port}/simple/"}
        served = self.base.root / "served"
        served.mkdir()
        hashes = {}
        for number, (name, path) in enumerate(_WHEELS.items()):
            content = (self.base.root / path).read_bytes()
            file, hashes[name] = Path(path).name, hashlib.sha256(content).hexdigest()
            page = (
                (
                    f'<!DOCTYPE html><a href="../../files/{file}#sha256={hashes[name]}" data-requires-python="&gt;=3.8">{file}</a>'
                ).encode(),
                "text/html",
            )
            if number:
                row = {
                    "filename": file,
                    "url": f"/files/{file}",
                    "hashes": {"sha256": hashes[name]},
                    "size": len(content),
                }
                page = (
                    json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": [row]}).encode(),
                    "application/vnd.pypi.simple.v1+json",
                )
            (served / f"simple!{name}").write_bytes(server.response(*page))
            (served / f"files!{file}").write_bytes(server.response(content))
        (self.base.project / "pylock.toml").unlink()
        (self.base.project / "requirements.txt").write_text(_locks(hashes, self.base.project)["requirements.txt"])
        shutil.copytree(served, self._work / "served")

    def change(self, chance: Random) -> Changes:
        if chance.random() > 0.1:
            return super().change(chance)
        path = f"served/simple!{chance.choice(sorted(_WHEELS))}"
        head, body = chance.choice(_bombs())
        kind = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n%s\r\n" % head
        return {path: kind + body}

    def changed(self, chance: Random, path: str, body: bytes) -> bytes:
        if "simple!" in path and chance.random() < 0.7:
            return mutate.page(chance, body)
        return super().changed(chance, path, body)

    def after_build(self) -> None:
        shutil.rmtree(self.base.store)
        shutil.rmtree(self.base.project / ".lamina")


class RuntimeRequests(Kind):
    """A function that sends anything to the Runtime API."""

    name = "runtime-api"
    arguments = ARGUMENTS["invoke"]

    def prepare(self) -> None:
        (self.base.project / "service" / "handlers" / "hello.py").write_text(
            "import os, socket\n"
            "def lambda_handler(event, context):\n"
            "    host, _, port = os.environ['AWS_LAMBDA_RUNTIME_API'].partition(':')\n"
            f"    for request in open({os.fspath(self._work / 'request')!r}, 'rb').read().split(b'\\n---\\n'):\n"
            "        with socket.create_connection((host, int(port)), timeout=0.2) as connection:\n"
            "            try:\n"
            "                connection.sendall(request.replace(b'ID', context.aws_request_id.encode()))\n"
            "                connection.recv(1000)\n"
            "            except OSError:\n"
            "                pass\n"
        )

    def valid(self) -> list[Changes]:
        return [{"request": b"POST /2018-06-01/runtime/invocation/ID/response HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"}]

    def change(self, chance: Random) -> Changes:
        requests = []
        for _ in range(chance.randint(1, 3)):
            error = json.dumps({"errorType": "E", "errorMessage": "m", "stackTrace": ["a", "b"]}).encode()
            body = mutate.body(chance, error)
            route = chance.choice(("invocation/ID/error", "invocation/ID/response", "init/error", "invocation/next"))
            head = f"POST /2018-06-01/runtime/{route} HTTP/1.1\r\nLambda-Runtime-Function-Error-Type: T\r\n".encode()
            if chance.random() < 0.5:
                head += b"Transfer-Encoding: chunked\r\n\r\n"
                body = b"%x\r\n%s\r\n0\r\nLambda-Runtime-Function-Error-Body: e30=\r\n\r\n" % (len(body), body)
            else:
                head += b"Content-Length: %d\r\n\r\n" % len(body)
            requests.append(
                chance.choice((head + body, mutate.text(chance, head + body), mutate.text(chance, head) + body))
            )
        return {"request": b"\n---\n".join(requests)}

    def judge(self, changes: Changes, place: Place, outcome: Outcome) -> list[str]:
        """Any end of the function is right."""
        return []


KINDS: dict[str, type[Kind]] = {
    kind.name: kind for kind in (Wheels, Locks, Configuration, Store, TeamStore, IndexPages, RuntimeRequests)
}
