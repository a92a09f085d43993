"""Each zip has a statement of provenance that standard tools read, that is the same on every machine, and that proves an exchanged zip."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING, cast

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement

from lamina.archive.layer import Identity, compose
from lamina.archive.segment import Recipe
from lamina.core.files import file_sha256
from lamina.core.store import Store
from lamina.core.target import Target
from lamina.core.values import DirectorySource, Pin, SdistSource, Sha256, VcsSource
from lamina.fetch.source.identity import identify
from lamina.pipeline import last_build
from lamina.pipeline.build import apply, build
from lamina.pipeline.context import BuildContext
from lamina.pipeline.plan import resolve
from lamina.pipeline.provenance import Verification, statement_path, verify
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
    for each in parsed.subject:
        ResourceDescriptor.copy_from_pb(each).validate()
    predicate = json_format.Parse(json.dumps(json.loads(content)["predicate"]), provenance_pb2.Provenance())

    assert [((root / place).name, file_sha256(root / place))] == [
        (each.name, each.digest["sha256"]) for each in parsed.subject
    ]
    assert "https://slsa.dev/provenance/v1" == parsed.predicate_type
    assert "pkg:pypi/lamina" == predicate.run_details.builder.id
    assert predicate.build_definition.build_type.startswith("urn:lamina:build:")
    for each in predicate.build_definition.resolved_dependencies:
        ResourceDescriptor.copy_from_pb(each).validate()


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
        ("FILE:///srv/git/greeter.git", None),
        ("file:/srv/git/greeter.git", None),
        ("HTTPS://git.example/acme/greeter.git", "git+https://git.example/acme/greeter.git"),
        ("git://git.example/acme/greeter.git", "git+git://git.example/acme/greeter.git"),
        ("bob:secret@git.example:acme/greeter.git", None),
        ("oauth2:secret@git.example:acme/greeter", None),
        ("codecommit::us-east-1://profile@greeter", None),
        ("ext::sh -c 'curl secret'", None),
        ("https://git.example/acme;token=secret/greeter.git", None),
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


def test_statement_of_the_latest_commit(service: Service, tmp_path: Path) -> None:
    """After an edit, a build, a commit and a build, the statements are those of a clone of the commit, byte for byte."""
    root = _committed(service)
    _build(root)
    (root / "service/handlers/hello.py").write_text("def lambda_handler(e, c): return 1\n")
    assert _dependencies(_build(root))["source"]["annotations"]["modified"]
    git(root, "commit", "--quiet", "--all", "--message", "Change")

    _build(root)

    other = tmp_path / "elsewhere"
    git(tmp_path, "clone", "--quiet", str(root), str(other))
    build(other, BuildOptions(), store=Store.open(tmp_path / "other"))
    for place in (LAYER, PACKAGE):
        assert statement_path(root / place).read_bytes() == statement_path(other / place).read_bytes()


def _commit(root: Path) -> None:
    git(root, "commit", "--quiet", "--allow-empty", "--message", "Nothing")


@pytest.mark.parametrize(
    ("prepare", "change"),
    [
        (lambda _root: None, _commit),
        (lambda root: git(root, "pack-refs", "--all"), _commit),
        (lambda root: git(root, "checkout", "--quiet", "--detach"), _commit),
        (_commit, lambda root: git(root, "reset", "--quiet", "--soft", "HEAD~1")),
        (_commit, lambda root: git(root, "checkout", "--quiet", "-b", "other", "HEAD~1")),
    ],
    ids=["commit", "packed", "detached", "reset", "branch"],
)
def test_another_commit(service: Service, prepare: Callable[[Path], object], change: Callable[[Path], object]) -> None:
    """A build with no other change writes the statements of another commit, without making a zip."""
    root = _committed(service)
    prepare(root)
    _build(root)
    before = [(root / place).stat().st_ino for place in (LAYER, PACKAGE)]
    statements = [statement_path(root / place).stat().st_ino for place in (LAYER, PACKAGE)]
    store = Store.open(root.parent / "store")
    assert build(root, BuildOptions(), store=store).plan.is_unchanged
    assert statements == [statement_path(root / place).stat().st_ino for place in (LAYER, PACKAGE)]

    change(root)

    assert git(root, "rev-parse", "HEAD").strip() == _dependencies(_build(root))["source"]["digest"]["gitCommit"]
    assert before == [(root / place).stat().st_ino for place in (LAYER, PACKAGE)]
    assert build(root, BuildOptions(), store=store).plan.is_unchanged


def test_commit_is_no_change_of_code(service: Service) -> None:
    """A commit alone does not run a watched function again, and an edit does."""
    root = _committed(service)
    _build(root)
    _commit(root)
    recorded = last_build.inputs(root)
    assert recorded is not None
    assert recorded.unchanged(root)

    (root / "service/handlers/hello.py").write_text("def lambda_handler(e, c): return 1\n")
    assert not recorded.unchanged(root)


def test_commit_in_a_linked_worktree(service: Service, tmp_path: Path) -> None:
    """A commit in another working tree of the repository counts, too."""
    root = tmp_path / "linked"
    git(_committed(service), "worktree", "add", "--quiet", str(root))
    _build(root)

    _commit(root)

    assert git(root, "rev-parse", "HEAD").strip() == _dependencies(_build(root))["source"]["digest"]["gitCommit"]


def test_missing_or_unneeded_statement(service: Service) -> None:
    """A statement that is missing or changed is written again without making the zip, and one without a zip is deleted."""
    service.functions["bye"] = "service.handlers.hello.lambda_handler"
    root = _committed(service)
    _build(root)
    path = statement_path(root / LAYER)
    first, built = path.read_bytes(), (root / LAYER).stat().st_ino

    path.unlink()
    _build(root)
    assert first == path.read_bytes()

    path.write_bytes(first[:-2])
    _build(root)
    assert first == path.read_bytes()
    assert built == (root / LAYER).stat().st_ino

    del service.functions["bye"]
    service.write()
    _build(root)
    assert [PACKAGE.rpartition("/")[2] + ".intoto.json"] == [
        each.name for each in root.glob(".lamina/functions/*.json")
    ]


def test_git_of_another_repository(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a hook of another repository, which git tells its hooks by variables, the statement names the project's own commit."""
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    _commit(other)
    git(other, "remote", "add", "origin", "https://git.example/evil/other.git")
    root = _committed(service)
    commit = git(root, "rev-parse", "HEAD").strip()
    for name, value in {"GIT_DIR": ".git", "GIT_WORK_TREE": "", "GIT_INDEX_FILE": ".git/index"}.items():
        monkeypatch.setenv(name, str(other / value))

    assert {"name": "source", "digest": {"gitCommit": commit}, "annotations": {"modified": False}} == _dependencies(
        _build(root)
    )["source"]


def test_unmerged_input(service: Service) -> None:
    """A file with a conflict differs from the commit, even if its content is that of the commit."""
    root = _committed(service)
    handler = root / "service/handlers/hello.py"
    git(root, "checkout", "--quiet", "-b", "other")
    handler.write_text("def lambda_handler(e, c): return 1\n")
    git(root, "commit", "--quiet", "--all", "--message", "One")
    git(root, "checkout", "--quiet", "-")
    handler.write_text("def lambda_handler(e, c): return 2\n")
    git(root, "commit", "--quiet", "--all", "--message", "Two")
    own = handler.read_bytes()
    with pytest.raises(subprocess.CalledProcessError):
        git(root, "merge", "other")
    handler.write_bytes(own)

    assert _dependencies(_build(root))["source"]["annotations"]["modified"]


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
            Pin(
                name="gamma",
                version="1",
                filename="gamma-1.whl",
                sha256=_SHA,
                index="https://user:secret@packages.example/simple?token=secret",
            ),
            {
                "name": "gamma-1.whl",
                "uri": "pkg:pypi/gamma@1?file_name=gamma-1.whl&repository_url=https:%2F%2Fpackages.example%2Fsimple",
                "digest": {"sha256": _SHA},
            },
        ),
        (
            Pin(name="gamma", version="1", filename="gamma-1.whl", sha256=_SHA, index="file:///home/bob/wheels"),
            {"name": "gamma-1.whl", "digest": {"sha256": _SHA}},
        ),
        (
            identify(
                SdistSource(name="gamma", version="1", filename="gamma-1.tar.gz", sha256=_SHA, subdirectory="lib")
            ),
            {
                "name": "gamma-1.tar.gz",
                "uri": "pkg:pypi/gamma@1?file_name=gamma-1.tar.gz#lib",
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
        (
            identify(
                VcsSource(name="gamma", version="1", url="file:///home/bob/gamma", commit="cd" * 20, subdirectory="lib")
            ),
            {"name": f"git@{'cd' * 20}#subdirectory=lib", "digest": {"gitCommit": "cd" * 20}},
        ),
    ],
    ids=["index", "secrets", "local index", "source distribution", "repository", "local repository"],
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
    """A zip is verified against the statement next to it; another zip and a damaged statement are problems, and without one there is no answer."""
    root = _committed(service)
    _build(root)
    archive = root / LAYER
    verified = verify(archive)
    assert verified
    assert verified.provenance is not None
    assert git(root, "rev-parse", "HEAD").strip() == verified.provenance.commit
    assert sha256(root / "pylock.toml") == verified.provenance.lock.digest
    assert [(wheel.name, sha256(wheel)) for _, wheel in sorted(service.locked.items())] == [
        (each.name, each.digest) for each in verified.provenance.materials
    ]

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


def _set(*keys: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(statement: dict[str, Any]) -> None:
        *path, last = keys
        place: Any = statement
        for key in path:
            place = place[key]
        place[last] = value

    return change


DEFINITION = ("predicate", "buildDefinition")
WHEEL = (*DEFINITION, "resolvedDependencies", 2)


@pytest.mark.parametrize(
    ("forge", "problem"),
    [
        (
            _set(*DEFINITION, "internalParameters", "digest", value="0" * 64),
            rf"the statement has the digest `{'0' * 64}`, and the manifest `[0-9a-f]{{64}}`",
        ),
        (
            _set(*DEFINITION, "externalParameters", "runtime", value="python3.12"),
            "the statement has the runtime `python3.12`, and the manifest `python3.13`",
        ),
        (_set(*WHEEL, "digest", "sha256", value="f" * 64), r"the statement has another digest for `alpha-1\.0-\S+whl`"),
        (
            _set(*WHEEL, "name", value="evil.whl"),
            r"the statement has no `alpha-1\.0-\S+whl`; the statement has in addition `evil\.whl`",
        ),
        (
            _set(*DEFINITION, "buildType", value="urn:lamina:build:package:1"),
            "the statement describes a function package",
        ),
    ],
    ids=["digest", "runtime", "artifact", "another artifact", "kind"],
)
def test_forged_statement(service: Service, forge: Callable[[dict[str, Any]], None], problem: str) -> None:
    """A statement with the right SHA-256 of the zip is not verified if the manifest in the zip says something else, and the problem names it."""
    root = _committed(service)
    document = _build(root)
    forge(document)
    statement_path(root / LAYER).write_text(json.dumps(document))

    found = verify(root / LAYER)

    assert found is not None
    assert re.fullmatch(
        f"`common.zip.intoto.json` does not agree with the manifest in the zip: {problem}", found.problem or ""
    )


@pytest.mark.parametrize(
    "forge",
    [
        _set("subject", 0, "digest", "sha256", value="1\n  no known vulnerabilities"),
        _set(*DEFINITION, "internalParameters", "digest", value={"a": 1}),
        _set(*DEFINITION, "resolvedDependencies", 0, "digest", "gitCommit", value="\x1b[31m"),
        _set(*DEFINITION, "resolvedDependencies", 0, "uri", value="git+https://git.example/a\n  b"),
        _set(*DEFINITION, "resolvedDependencies", 0, "annotations", "modified", value="no"),
        _set(*DEFINITION, "externalParameters", "runtime", value="python3.13\n"),
        _set(*WHEEL, "name", value=["a"]),
        _set(*WHEEL, "name", value="a\nb"),
        _set(*WHEEL, "digest", value={}),
        _set(*WHEEL, "digest", "sha512", value="f" * 64),
        _set(*DEFINITION, "resolvedDependencies", value=[]),
        _set("predicate", "runDetails", "builder", "version", "lamina", value="1\n  no known vulnerabilities"),
    ],
)
def test_values_of_another_form(service: Service, forge: Callable[[dict[str, Any]], None]) -> None:
    """A statement with a value of another form is not lamina's, so that none of its text is shown."""
    root = _committed(service)
    document = _build(root)
    forge(document)
    statement_path(root / LAYER).write_text(json.dumps(document))

    assert Verification(
        problem="`common.zip.intoto.json` is not a statement of provenance that lamina wrote"
    ) == verify(root / LAYER)


def test_manifest_with_another_digest(service: Service) -> None:
    """A zip and a statement that were changed together do not agree with the digest, because it covers the whole manifest."""
    root = _committed(service)
    document = _build(root)
    archive = root / LAYER
    with zipfile.ZipFile(archive) as original:
        members = {name: original.read(name) for name in original.namelist()}
    wheel = document["predicate"]["buildDefinition"]["resolvedDependencies"][2]
    real, wheel["digest"]["sha256"] = wheel["digest"]["sha256"], "f" * 64
    with zipfile.ZipFile(archive, "w") as changed:
        for name, content in members.items():
            changed.writestr(name, content.replace(real.encode(), b"f" * 64))
    document["subject"][0]["digest"]["sha256"] = file_sha256(archive)
    statement_path(archive).write_text(json.dumps(document))

    found = verify(archive)

    assert found is not None
    assert (found.problem or "").endswith(" that it states")


@pytest.mark.parametrize("forged", [None, 0, 1, 2, 3])
def test_sources_in_a_layer(tmp_path: Path, forged: int | None) -> None:
    """What a layer was built from is verified, whatever its kind, and a forged digest of each is named."""
    (tmp_path / "pyproject.toml").touch()
    pins = [
        identify(DirectorySource(name="alpha", version="1", path=tmp_path)),
        identify(SdistSource(name="beta", version="1", filename="beta-1.tar.gz", sha256=_SHA, subdirectory="lib")),
        identify(VcsSource(name="gamma", version="1", url="file:///home/bob/gamma", commit="cd" * 20)),
        identify(SdistSource(name="zeta", version="1", filename="zeta-1.tar.gz", sha256=_SHA)),
    ]
    identity = Identity(target=Target.of("python3.13", "x86_64"), pins=tuple(pins), recipe=Recipe())
    archive = tmp_path / "common.zip"
    with archive.open("wb", buffering=0) as file:
        layer = compose(file, [], identity, identity.digest())
    materials = [material(pin) for pin in pins]
    if forged is not None:
        ((algorithm, digest),) = cast("dict[str, str]", materials[forged]["digest"]).items()
        materials[forged]["digest"] = {algorithm: "0" * len(digest)}
    definition = {
        "buildType": "urn:lamina:build:layer:1",
        "externalParameters": {"runtime": "python3.13"},
        "internalParameters": {"digest": identity.digest()},
        "resolvedDependencies": [{"name": "pylock.toml", "digest": {"sha256": _SHA}}, *materials],
    }
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "common.zip", "digest": {"sha256": layer.sha256}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": definition,
            "runDetails": {"builder": {"id": "pkg:pypi/lamina", "version": {"lamina": "1.0"}}},
        },
    }
    statement_path(archive).write_text(json.dumps(document))

    found = verify(archive)

    assert found is not None
    assert (forged is None) is bool(found)
    name = None if forged is None else f"another digest for `{materials[forged]['name']}`"
    assert name is None or (found.problem or "").endswith(name)


def test_zip_without_a_manifest(service: Service) -> None:
    """A statement about a layer does not prove where a zip without a manifest comes from."""
    root = _committed(service)
    document = _build(root)
    shutil.copy(root / PACKAGE, root / LAYER)
    document["subject"][0]["digest"]["sha256"] = file_sha256(root / LAYER)
    statement_path(root / LAYER).write_text(json.dumps(document))

    found = verify(root / LAYER)

    assert found is not None
    assert "`common.zip.intoto.json` does not agree with the manifest in the zip: the zip has none" == found.problem
