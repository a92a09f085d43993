"""Each zip has a statement of provenance that standard tools read, that is the same on every machine, and that proves an exchanged zip."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from lamina.core.files import file_sha256
from lamina.core.store import Store
from lamina.core.values import DirectorySource, Pin, SdistSource, Sha256, VcsSource
from lamina.fetch.source.identity import identify
from lamina.pipeline.build import apply, build
from lamina.pipeline.context import BuildContext
from lamina.pipeline.plan import resolve
from lamina.pipeline.provenance import statement_path, verify
from lamina.pipeline.statements import material
from lamina.project import config
from lamina.project.options import BuildOptions
from services import make_service
from sourceprojects import git
from wheels import sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from services import Service

LAYER = ".lamina/layers/common.zip"
PACKAGE = ".lamina/functions/hello.zip"


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return make_service(tmp_path)


def _committed(service: Service) -> Path:
    root = service.write()
    git(root, "init", "--quiet")
    (root / ".gitignore").write_text("ignored.py\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "Start")
    return root


def _build(root: Path, store: str = "store") -> dict[str, Any]:
    """Build, and return the predicate of the layer's statement."""
    build(root, BuildOptions(), store=Store.open(root.parent / store))
    return _statement(root / LAYER)


def _statement(archive: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(statement_path(archive).read_bytes())
    return document


def _dependencies(statement: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in statement["predicate"]["buildDefinition"]["resolvedDependencies"]}


@pytest.mark.parametrize("place", [LAYER, PACKAGE])
def test_standard_tools_read_statements(service: Service, place: str) -> None:
    """The in-toto library accepts each statement, and its definition of the predicate has every field."""
    root = _committed(service)
    _build(root)
    content = statement_path(root / place).read_bytes()

    parsed = json_format.Parse(content, statement_pb2.Statement())
    Statement.copy_from_pb(parsed).validate()
    predicate = json_format.Parse(json.dumps(json.loads(content)["predicate"]), provenance_pb2.Provenance())

    assert [((root / place).name, file_sha256(root / place))] == [
        (each.name, each.digest["sha256"]) for each in parsed.subject
    ]
    assert "https://slsa.dev/provenance/v1" == parsed.predicate_type
    assert "pkg:pypi/lamina" == predicate.run_details.builder.id
    assert predicate.build_definition.build_type.startswith("urn:lamina:build:")


def test_statement_names_every_material(service: Service) -> None:
    """The commit, the lock file and each locked artifact are materials, with the digests that others can compute."""
    root = _committed(service)

    statement = _build(root)

    commit = git(root, "rev-parse", "HEAD").strip()
    alpha, beta = service.locked["alpha"], service.locked["beta"]
    assert {
        "source": {"name": "source", "digest": {"gitCommit": commit}, "annotations": {"modified": False}},
        "pylock.toml": {"name": "pylock.toml", "digest": {"sha256": sha256(root / "pylock.toml")}},
        alpha.name: {
            "name": alpha.name,
            "uri": f"pkg:pypi/alpha@1.0?file_name={alpha.name}",
            "digest": {"sha256": sha256(alpha)},
        },
        beta.name: {
            "name": beta.name,
            "uri": f"pkg:pypi/beta@2.0?file_name={beta.name}",
            "digest": {"sha256": sha256(beta)},
        },
    } == _dependencies(statement)


def test_other_machine_writes_the_same_statement(service: Service, tmp_path: Path) -> None:
    """A clone in another directory with another store writes the same bytes."""
    root = _committed(service)
    _build(root)
    other = tmp_path / "elsewhere" / "clone"
    git(tmp_path, "clone", "--quiet", str(root), str(other))

    build(other, BuildOptions(), store=Store.open(tmp_path / "other"))

    for place in (LAYER, PACKAGE):
        assert statement_path(root / place).read_bytes() == statement_path(other / place).read_bytes()


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("https://bob:secret@git.example/acme/greeter.git", "git+https://git.example/acme/greeter.git"),
        ("https://token@git.example/acme/greeter.git?key=secret", "git+https://git.example/acme/greeter.git"),
        ("git@git.example:acme/greeter.git", "git+ssh://git@git.example/acme/greeter.git"),
        ("ssh://git@git.example:22/acme/greeter.git", "git+ssh://git@git.example:22/acme/greeter.git"),
        ("/srv/git/greeter.git", None),
        ("file:///srv/git/greeter.git", None),
        ("https://bob:sec/ret@git.example:port/greeter.git", None),
    ],
)
def test_repository_without_credentials(service: Service, remote: str, expected: str | None) -> None:
    """The statement names the repository, but no credentials and no path of the machine."""
    root = _committed(service)
    git(root, "remote", "add", "origin", remote)

    assert expected == _dependencies(_build(root))["source"].get("uri")


@pytest.mark.parametrize(
    ("change", "modified"),
    [
        (lambda root: (root / "service/handlers/hello.py").write_text("def lambda_handler(e, c): return 1\n"), True),
        (lambda root: (root / "service/handlers/new.py").write_text("X = 1\n"), True),
        (lambda root: (root / "README").unlink(), True),
        (lambda root: (root / "notes.txt").write_text("not an input\n"), False),
        (lambda root: (root / "service/ignored.py").write_text("X = 1\n"), False),
    ],
    ids=["changed", "new", "deleted", "no input", "ignored"],
)
def test_modified_inputs(service: Service, change: Callable[[Path], object], *, modified: bool) -> None:
    """A statement says whether the build's inputs differ from the commit."""
    root = service.write()
    (root / "README").write_text("A service\n")
    _committed(service)
    change(root)

    assert modified is _dependencies(_build(root))["source"]["annotations"]["modified"]


def test_no_commit(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Outside a repository, before the first commit and without git, the statement names no commit."""
    root = service.write()
    assert {"pylock.toml"} < _dependencies(_build(root)).keys()
    assert "source" not in _dependencies(_statement(root / LAYER))

    shutil.rmtree(root / ".lamina")
    git(root, "init", "--quiet")
    assert "source" not in _dependencies(_build(root))

    shutil.rmtree(root / ".lamina")
    _committed(service)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "source" not in _dependencies(_build(root))


def test_kept_statement(service: Service) -> None:
    """A statement stays as it is while the zip does; one that is missing, changed or no longer needed is corrected."""
    service.functions["bye"] = "service.handlers.hello.lambda_handler"
    root = _committed(service)
    _build(root)
    path = statement_path(root / LAYER)
    first = path.read_bytes()
    built = (root / LAYER).stat().st_ino

    git(root, "commit", "--quiet", "--allow-empty", "--message", "Nothing")
    (root / "service/handlers/hello.py").write_text("def lambda_handler(e, c): return 1\n")
    _build(root)
    assert first == path.read_bytes()

    path.unlink()
    commit = git(root, "rev-parse", "HEAD").strip()
    assert commit == _dependencies(_build(root))["source"]["digest"]["gitCommit"]

    path.write_bytes(first[:-2])
    _build(root)
    assert verify(root / LAYER)
    assert built == (root / LAYER).stat().st_ino

    del service.functions["bye"]
    service.write()
    _build(root)
    assert [PACKAGE.rpartition("/")[2] + ".intoto.json"] == [
        each.name for each in root.glob(".lamina/functions/*.json")
    ]


_SHA = Sha256("ab" * 32)


def test_input_that_changes_during_the_build(service: Service) -> None:
    """If files changed while they were read, no statement is written, and an older one is deleted; the next build writes it."""
    root = _committed(service)
    _build(root)
    (root / "service/handlers/hello.py").write_text("def lambda_handler(e, c): return 1\n")
    context = BuildContext.open(root, BuildOptions(), store=Store.open(root.parent / "store"))

    apply(resolve(context, config.load(root)), context, started_ns=0)

    assert [] == [*root.glob(".lamina/*/*.intoto.json")]
    _build(root)
    assert verify(root / PACKAGE)


@pytest.mark.parametrize(
    ("pin", "expected"),
    [
        (
            Pin(
                name="gamma",
                version="1+local",
                filename="gamma-1.whl",
                sha256=_SHA,
                index="https://packages.example/simple",
            ),
            {
                "name": "gamma-1.whl",
                "uri": "pkg:pypi/gamma@1%2Blocal?file_name=gamma-1.whl&repository_url=https:%2F%2Fpackages.example%2Fsimple",
                "digest": {"sha256": _SHA},
            },
        ),
        (
            identify(
                SdistSource(name="gamma", version="1", filename="gamma-1.tar.gz", sha256=_SHA, subdirectory="lib")
            ),
            {
                "name": "gamma-1.tar.gz",
                "uri": "pkg:pypi/gamma@1?file_name=gamma-1.tar.gz",
                "digest": {"sha256": _SHA},
            },
        ),
        (
            identify(VcsSource(name="gamma", version="1", url="https://git.example/gamma", commit="cd" * 20)),
            {
                "name": f"git+https://git.example/gamma@{'cd' * 20}",
                "uri": f"pkg:pypi/gamma@1?vcs_url=git%2Bhttps:%2F%2Fgit.example%2Fgamma%40{'cd' * 20}",
                "digest": {"gitCommit": "cd" * 20},
            },
        ),
    ],
    ids=["index", "source distribution", "repository"],
)
def test_materials(pin: Pin, expected: dict[str, object]) -> None:
    """The material of a distribution that lamina builds is the locked source, not the wheel."""
    assert expected == material(pin)


def test_directory_as_material(tmp_path: Path) -> None:
    """A local package is named without its path, with the digest of its content."""
    (tmp_path / "pyproject.toml").touch()
    pin = identify(DirectorySource(name="gamma", version="1", path=tmp_path))

    assert {"name": "gamma (local)", "digest": {"laminaSource": pin.sha256}} == material(pin)


def test_verification(service: Service) -> None:
    """A zip is verified against the statement beside it; another zip and a damaged statement are problems, and none is no answer."""
    root = _committed(service)
    _build(root)
    archive = root / LAYER
    verified = verify(archive)
    assert verified
    assert verified.provenance is not None
    assert git(root, "rev-parse", "HEAD").strip() == verified.provenance.commit
    assert ("pylock.toml", sha256(root / "pylock.toml")) == verified.provenance.materials[0]

    content = archive.read_bytes()
    archive.write_bytes(content + b"\0")
    exchanged = verify(archive)
    assert exchanged is not None
    assert not exchanged
    assert (
        f"`common.zip.intoto.json` describes another file: it names SHA-256 `{verified.provenance.sha256}`, "
        f"and the zip has `{file_sha256(archive)}`"
    ) == exchanged.problem

    statement = statement_path(archive)
    for damaged in (b"", b"[]", b"{}", b"[" * 100_000, statement.read_bytes().replace(b"pkg:pypi/lamina", b"other")):
        statement.write_bytes(damaged)
        found = verify(archive)
        assert found is not None
        assert "`common.zip.intoto.json` is not a statement of provenance that lamina wrote" == found.problem

    statement.unlink()
    assert verify(archive) is None
