"""Build backends see what compilers and package indexes need, and no secret of the machine or of a CI job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fetch.source.test_build import sdist_row, write_service
from lamina.cli.main import main
from lamina.fetch.source.environment import build_environment
from locking import write_pylock
from sourceprojects import make_sdist, source_files

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_PROFILE",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_RUNTIME_TOKEN",
    "CI_JOB_TOKEN",
    "CI_REGISTRY_PASSWORD",
    "SYSTEM_ACCESSTOKEN",
    "BITBUCKET_STEP_OIDC_TOKEN",
    "TWINE_PASSWORD",
    "UV_PUBLISH_TOKEN",
    "UV_PUBLISH_PASSWORD",
    "UV_GITHUB_TOKEN",
    "HATCH_INDEX_AUTH",
    "HATCH_BUILD_TOKEN",
    "POETRY_PYPI_TOKEN_PYPI",
    "POETRY_HTTP_BASIC_OWN_PASSWORD",
    "CARGO_REGISTRY_TOKEN",
    "CMAKE_API_KEY",
    "SSH_AUTH_SOCK",
    "DATABASE_URL",
    "VAULT_TOKEN",
    "NPM_TOKEN",
    "DOCKER_AUTH_CONFIG",
    "VIRTUAL_ENV",
    "PYTHONPATH",
)
NEEDED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "CC",
    "CFLAGS",
    "LDFLAGS",
    "PKG_CONFIG_PATH",
    "CMAKE_PREFIX_PATH",
    "CARGO_HOME",
    "https_proxy",
    "HTTP_PROXY",
    "SSL_CERT_FILE",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_OWN_USERNAME",
    "UV_INDEX_OWN_PASSWORD",
    "UV_KEYRING_PROVIDER",
    "UV_NATIVE_TLS",
    "SETUPTOOLS_SCM_PRETEND_VERSION",
    "SYSTEMROOT",
)


def test_chosen() -> None:
    """Of all variables, only those with a purpose in a build are kept."""
    environ = dict.fromkeys((*SECRETS, *NEEDED), "value")

    assert sorted(NEEDED) == sorted(build_environment(environ))


def test_seen_by_a_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A backend sees no secret. The build is announced although it is quiet."""
    files = source_files("pure")
    seen = tmp_path / "seen.json"
    files["backend.py"] += f"\nimport json\npathlib.Path({str(seen)!r}).write_text(json.dumps(dict(os.environ)))\n"
    project = write_service(tmp_path / "project")
    write_pylock(project, sdist_row(make_sdist(tmp_path / "files", "pure", "1.0", files)))
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    for name in SECRETS:
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("CFLAGS", "-O1")

    assert 0 == main(["build", "--quiet", "--project", str(project)])
    environment = json.loads(seen.read_text())
    assert "-O1" == environment["CFLAGS"]
    assert [] == [name for name, value in environment.items() if "hunter2" in value]
    assert "note: building `pure` 1.0; the build runs code from `pure-1.0.tar.gz`\n" == capsys.readouterr().err
