"""Walking the sources packages the right files and detects changes quickly."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import PackageError, UnsafeMemberError
from lamina.core.frozen import replace
from lamina.core.paths import check_path
from lamina.project.discovery import discover
from lamina.project.ignore import IgnoredFile
from lamina.project.snapshot import Snapshot, take
from lamina.project.sources import SourceTree, fingerprint, walk
from sourceprojects import git

if TYPE_CHECKING:
    from pathlib import Path


def grow(root: Path, *paths: str) -> Path:
    """Create a file at each of *paths* with its path as content."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# {path}\n", encoding="utf-8")
    return root


def paths(tree: SourceTree) -> list[str]:
    return [file.path for file in tree.files]


def reasons(tree: SourceTree) -> dict[str, str]:
    return {each.path: each.reason for each in tree.ignored}


class TestEntries:
    def test_directory(self, tmp_path: Path) -> None:
        """A directory is packaged with all its files under its own name."""
        grow(tmp_path, "service/__init__.py", "service/handlers/b.py", "service/handlers/a.py", "other/x.py")

        tree = walk(tmp_path, ["service"])

        assert paths(tree) == ["service/__init__.py", "service/handlers/a.py", "service/handlers/b.py"]
        assert tree.ignored == ()

    def test_below(self, tmp_path: Path) -> None:
        """Only the last component of an entry is part of the import name."""
        grow(tmp_path, "src/service/a.py", "src/main.py")

        assert paths(walk(tmp_path, ["src/service", "src/main.py"])) == ["main.py", "service/a.py"]

    def test_glob(self, tmp_path: Path) -> None:
        """A glob's matches are packaged relative to their parent directory."""
        grow(tmp_path, "src/service/a.py", "src/main.py", "src/.venv/b.py", "readme.md")

        tree = walk(tmp_path, ["src/*"])

        assert paths(tree) == ["main.py", "service/a.py"]
        assert reasons(tree) == {"src/.venv/": "virtual environment"}

    @pytest.mark.parametrize("entry", ["src/**", "src/**/*", "src/**/*.py"])
    def test_recursive_glob(self, tmp_path: Path, entry: str) -> None:
        """A recursive glob's matches are packaged relative to the directory before the `**`."""
        grow(tmp_path, "src/service/deep/a.py", "src/main.py", "src/.git/c.py", "other.py")

        tree = walk(tmp_path, [entry])

        assert paths(tree) == ["main.py", "service/deep/a.py"]
        assert reasons(tree) == {"src/.git/": "version control"}

    def test_recursive_glob_of_some_files(self, tmp_path: Path) -> None:
        """Files that a recursive glob does not match are not listed as ignored."""
        grow(tmp_path, "src/a/b.py", "src/a/b.txt")

        tree = walk(tmp_path, ["src/**/*.py"])

        assert paths(tree) == ["a/b.py"]
        assert tree.ignored == ()

    def test_whole_project(self, tmp_path: Path) -> None:
        """A dot packages the project directory itself."""
        grow(tmp_path, "app.py", "lib/a.py", ".lamina/functions/x.zip", ".git/HEAD", ".env")

        tree = walk(tmp_path, ["."])

        assert paths(tree) == ["app.py", "lib/a.py"]
        assert reasons(tree) == {
            ".env": "may contain secrets; if not, add its path to `include`",
            ".git/": "version control",
            ".lamina/": "lamina's own output",
        }

    def test_same_file_twice(self, tmp_path: Path) -> None:
        """Entries may overlap if every path has only one file."""
        grow(tmp_path, "service/a.py")

        assert paths(walk(tmp_path, ["service", "serv*"])) == ["service/a.py"]

    def test_order_of_entries(self, tmp_path: Path) -> None:
        """The order of entries does not matter."""
        grow(tmp_path, "b/a.py", "a/b.py")

        assert walk(tmp_path, ["a", "b"]).files == walk(tmp_path, ["b", "a"]).files

    def test_collision(self, tmp_path: Path) -> None:
        """Two files for one path are rejected, and the message names both."""
        grow(tmp_path, "one/lib/a.py", "two/lib/a.py")

        with pytest.raises(PackageError) as caught:
            walk(tmp_path, ["one/lib", "two/lib"])

        assert str(caught.value) == (
            "could not package the sources: `one/lib/a.py` and `two/lib/a.py` are different files with the same path in the package, `lib/a.py`"
        )

    def test_file_against_directory(self, tmp_path: Path) -> None:
        """A path that would be a file and a directory is rejected."""
        grow(tmp_path, "one/x", "two/x/y")

        with pytest.raises(PackageError) as caught:
            walk(tmp_path, ["one/x", "two/x"])

        assert str(caught.value) == "could not package the sources: `x` is both a file and a directory in the package"


class TestIgnoredFile:
    @pytest.mark.parametrize(
        ("path", "shown", "reason"),
        [
            ("service/.env.production", None, "may contain secrets; if not, add its path to `include`"),
            ("service/.ENV", None, "may contain secrets; if not, add its path to `include`"),
            ("service/tls/server.pem", None, "may contain secrets; if not, add its path to `include`"),
            ("service/jwt.key", None, "may contain secrets; if not, add its path to `include`"),
            ("service/id_rsa.pub", None, "may contain secrets; if not, add its path to `include`"),
            ("service/bundle.p12", None, "may contain secrets; if not, add its path to `include`"),
            ("service/.netrc", None, "may contain secrets; if not, add its path to `include`"),
            ("service/.git-credentials", None, "may contain secrets; if not, add its path to `include`"),
            ("service/jump-host.ppk", None, "may contain secrets; if not, add its path to `include`"),
            ("service/credentials", None, "may contain secrets; if not, add its path to `include`"),
            ("service/.git/config", "service/.git/", "version control"),
            (
                "service/__pycache__/a.pyc",
                "service/__pycache__/",
                "bytecode; lamina compiles it for the target",
            ),
            ("service/a.pyc", None, "bytecode; lamina compiles it for the target"),
            ("service/.venv/a.py", "service/.venv/", "virtual environment"),
            ("service/.mypy_cache/a", "service/.mypy_cache/", "cache or build output"),
            ("service/.pytest_cache/a", "service/.pytest_cache/", "cache or build output"),
            ("service/.ruff_cache/a", "service/.ruff_cache/", "cache or build output"),
            ("service/x.egg-info/PKG-INFO", "service/x.egg-info/", "cache or build output"),
            ("service/tests/a.py", "service/tests/", "tests"),
            ("service/test_a.py", None, "tests"),
            ("service/conftest.py", None, "tests"),
            ("service/.idea/a", "service/.idea/", "editor or system file"),
            ("service/.a.py.swp", None, "editor or system file"),
            ("service/.DS_Store", None, "editor or system file"),
            ("service/.lamina/a", "service/.lamina/", "lamina's own output"),
        ],
    )
    def test_names(self, tmp_path: Path, path: str, shown: str | None, reason: str) -> None:
        """Secrets, caches and tests are left out by name, each with a reason."""
        grow(tmp_path, "service/a.py", path)

        tree = walk(tmp_path, ["service"])

        assert paths(tree) == ["service/a.py"]
        noted = reason.startswith("may contain")
        assert tree.ignored == (IgnoredFile(path=shown or path, reason=reason, is_noted=noted),)

    @pytest.mark.parametrize("path", ["service/credentials/a.py", "service/contest_a.py", "service/environment.py"])
    def test_similar_names(self, tmp_path: Path, path: str) -> None:
        """Names that only resemble ignored names are packaged."""
        assert paths(walk(grow(tmp_path, path), ["service"])) == [path]

    def test_unusual_environment(self, tmp_path: Path) -> None:
        """A directory with a `pyvenv.cfg` is a virtual environment, whatever its name."""
        grow(tmp_path, "service/a.py", "service/py312/pyvenv.cfg", "service/py312/lib/b.py")

        assert reasons(walk(tmp_path, ["service"])) == {"service/py312/": "virtual environment"}

    def test_pipe(self, tmp_path: Path) -> None:
        """A path that is not a regular file is left out, and reading it does not block."""
        grow(tmp_path, "service/a.py")
        os.mkfifo(tmp_path / "service" / "pipe")

        assert reasons(walk(tmp_path, ["service"])) == {"service/pipe": "not a regular file"}


def _words(text: str) -> list[str]:
    return text.split()


_SECRETS = _words(
    ".git-credentials .vault-token secrets.yaml service-account.json client_secret_1.json application_default_credentials.json "
    ".s3cfg .htpasswd kubeconfig .bash_history x.ppk dump.sql .npmrc deploy_rsa rootkey.csv ada_accessKeys.csv prod.env "
    "prod.env.local .envrc local.settings.json signing.p8 service.keytab ca.jks .dockercfg pip.conf terraform.tfvars.json main.tfplan "
    "credentials.xml password.txt api-keys.yml private_key .secrets.toml my-service_account-1.json registry-credentials.json "
    "vault_pass.txt .pgpass .my.cnf orders_backup.sql orders.sql.gz cluster.kubeconfig rclone.conf secring.gpg .zshrc "
    "shop-firebase-adminsdk-x1.json token.json id_ed25519 master.key "
    "secrets.yaml.bak secrets.json~ .prod.env.swp id_rsa.old aws_credentials app.secrets.yaml db_secret.json key.json cookies.txt "
    "credentials.prod.json credentials-prod.json secrets-prod.yaml secrets_prod.yaml signing_key .gitcookies .ssh_config "
    "openai_api_key.txt github_token.txt api_token.txt secrets.yaml.1 secrets.yaml.gz secrets.zip secrets.tar.gz auth.json "
    "private-key.asc secring.asc shop_dump.sql backup-2026-11-28.sql DB-Password.txt"
)
_DIRECTORIES = _words(
    ".aws .ssh .gnupg .docker .kube .azure .gcloud .oci .minikube .password-store .subversion login.keychain "
    ".config/gcloud .config/gh .config/doctl .config/op"
)
_REPOSITORIES = _words(".git .hg .svn .bzr .jj .sl .pijul .fossil _darcs CVS RCS SCCS mirror.git .lamina")
_NEEDED = _words(
    "secrets.py credentials.py token.py settings.py keys.json tokens.json tokenizer.json password_reset.txt schema.sql queries.sql "
    "environment.py env.py history.py credentials_test.json secret_santa.html orders.db regions.sqlite known_hosts root.crt "
    "database.yml config.yaml id_rsa_parser.py dump.json keyboard.txt passwords.py secretsanta.json monkey git.py secrets.py.orig no-secrets.md reset-password.html .gitlab.json "
    "_native.so dem.asc reset_password.txt forgot_password.txt rotate_secret.json user_credentials.json common-passwords.txt "
    "0002_backup_orders.sql release.tar.gz.asc secrets.py.gz config.json"
)
# Names that are secrets in one directory, and not in another.
_SECRET_PATHS = _words(".config/hub .huggingface/token .dbt/profiles.yml docker/config.json")
_NEEDED_PATHS = _words(
    "locales/en/auth.json locales/en/token.json schemas/api_token.json templates/email/admin_password.txt "
    "migrations/0003_drop_backup.sql config/hub profiles.yml"
)


class TestGuards:
    """No glob adds files of repositories, of lamina, or that may contain secrets."""

    @pytest.mark.parametrize(
        ("source", "include"),
        [
            (["service"], ["**"]),
            (["service"], ["**/*"]),
            (["service"], ["service"]),
            (["service"], ["service/*", "service/**", "*/*/*"]),
            (["service"], [f"service/{name}/*" for name in (*_REPOSITORIES, *_DIRECTORIES)]),
            (["service"], ["**/config", "**/[c]onfig", "service/.git/c?nfig"]),
            (["."], ["**"]),
            (["service/**"], ["**"]),
            (["**/*"], []),
            (["service/*"], ["**"]),
        ],
    )
    def test_globs(self, tmp_path: Path, source: list[str], include: list[str]) -> None:
        """Whatever globs match, such files stay out, in such a directory whatever their names."""
        inside = [f"service/{name}/{file}" for name in (*_REPOSITORIES, *_DIRECTORIES) for file in ("config", "a/b.py")]
        secrets = [f"service/{directory}{name}" for name in (*_SECRETS, *_SECRET_PATHS) for directory in ("", "data/")]
        grow(tmp_path, "service/a.py", "service/data/b.py", *inside, *secrets)

        packaged = paths(walk(tmp_path, source, include))

        assert {"a.py", "b.py"} == {path.rpartition("/")[2] for path in packaged}
        assert 2 == len(packaged)

    @pytest.mark.parametrize("entry", ["{}/*", "{}/**", "{}/**/*", "{}/a/*"])
    def test_glob_in_the_directory(self, tmp_path: Path, entry: str) -> None:
        """A source with a wildcard adds nothing of such a directory, even if it names the directory."""
        names = (*_REPOSITORIES, *_DIRECTORIES)
        grow(tmp_path, *(f"{name}/{file}" for name in names for file in ("config", "a/b.py")))

        assert [] == paths(walk(tmp_path, [entry.format(name) for name in names], ["**"]))

    @pytest.mark.parametrize("name", [".git", ".hg", ".bzr", ".fslckout", "_FOSSIL_", "orders.fossil", ".CVSPASS"])
    def test_repository_file(self, tmp_path: Path, name: str) -> None:
        """A file that names or is a repository, such as `.git` of a worktree, is left out like the directory."""
        grow(tmp_path, "service/a.py", f"service/{name}")

        tree = walk(tmp_path, ["service"], ["**"])

        assert ["service/a.py"] == paths(tree)
        assert {f"service/{name}": "version control"} == reasons(tree)

    def test_needed(self, tmp_path: Path) -> None:
        """Modules are packaged whatever their name, and so are files that only resemble secrets, and packages in lower case."""
        names = [
            *_NEEDED,
            *_NEEDED_PATHS,
            "cvs/a.py",
            "rcs/a.py",
            "credentials/a.py",
            "env/a.py",
            "passwd/a.py",
            "kubeconfig/a.py",
        ]
        grow(tmp_path, *(f"service/{name}" for name in names))

        assert sorted(f"service/{name}" for name in names) == paths(walk(tmp_path, ["service"]))

    @pytest.mark.parametrize(
        ("named", "reason"),
        [
            ("service/.git/config", "version control"),
            ("service/.git", "version control"),
            ("service/.hg/store/x", "version control"),
            ("service/.lamina/x", "lamina's own output"),
            ("service/.aws/config", "may contain secrets"),
            ("service/secrets.yaml", "may contain secrets"),
        ],
    )
    @pytest.mark.parametrize("by", ["include", "source"])
    def test_own_path(self, tmp_path: Path, named: str, reason: str, by: str) -> None:
        """The exact path of a file adds it and nothing else, and the tree says why it would be left out."""
        grow(tmp_path, "service/a.py", named, named.rpartition("/")[0] + "/.env")
        source, include = (["service", named], []) if by == "source" else (["service"], ["**", named])

        tree = walk(tmp_path, source, include)

        assert {"a.py", named.rpartition("/")[2]} == {path.rpartition("/")[2] for path in paths(tree)}
        assert (IgnoredFile(path=named, reason=reason),) == tree.named

    @pytest.mark.parametrize("by", ["include", "source"])
    def test_directory_by_name(self, tmp_path: Path, by: str) -> None:
        """The name of a directory adds a directory of secrets, except secrets in it, and nothing of a repository."""
        grow(tmp_path, "service/a.py", "service/.aws/config", "service/.aws/credentials", "service/.git/config")
        named = ["service/.aws", "service/.git"]
        source, include = (["service/a.py", *named], []) if by == "source" else (["service"], named)

        tree = walk(tmp_path, source, include)

        assert {"a.py", "config"} == {path.rpartition("/")[2] for path in paths(tree)}
        assert (IgnoredFile(path="service/.aws/", reason="may contain secrets"),) == tree.named

    def test_repositories_are_not_searched(self, tmp_path: Path) -> None:
        """A glob does not make lamina look at a repository, whose files change with every commit."""
        grow(tmp_path, "service/a.py", "service/.git/objects/x")

        observed = [each.path for each in walk(tmp_path, ["service"], ["**"]).snapshot.observations]

        assert [] == [path for path in observed if "objects" in path]

    def test_link(self, tmp_path: Path) -> None:
        """A link to a file in such a directory is left out, and added by its own path only."""
        grow(tmp_path, ".git/config", ".aws/config", "service/a.py")
        (tmp_path / "service" / "one").symlink_to("../.git/config")
        (tmp_path / "service" / "two").symlink_to("../.aws/config")

        assert ["service/a.py"] == paths(walk(tmp_path, ["service"], ["**"]))
        assert ["service/a.py", "service/two"] == paths(walk(tmp_path, ["service"], ["service/two"]))


class TestInclude:
    def test_directory(self, tmp_path: Path) -> None:
        """An included directory is packaged with all its files except secrets and bytecode."""
        grow(tmp_path, "service/tests/test_a.py", "service/tests/.env", "service/tests/__pycache__/a.pyc")

        tree = walk(tmp_path, ["service"], ["service/tests"])

        assert paths(tree) == ["service/tests/test_a.py"]
        assert sorted(reasons(tree)) == ["service/tests/.env", "service/tests/__pycache__/"]

    def test_below_a_directory_that_stays_out(self, tmp_path: Path) -> None:
        """One file of an ignored directory can be included, and the directory is still listed as ignored."""
        grow(tmp_path, "service/tests/data/a.json", "service/tests/data/b.json", "service/tests/c.py")

        tree = walk(tmp_path, ["service"], ["service/tests/data/a.json"])

        assert paths(tree) == ["service/tests/data/a.json"]
        assert reasons(tree) == {"service/tests/": "tests"}

    def test_secret_needs_its_own_path(self, tmp_path: Path) -> None:
        """A glob never includes a file that may contain secrets; only the exact path does."""
        grow(tmp_path, "service/ca.pem", "service/own.pem")

        tree = walk(tmp_path, ["service"], ["service/*", "service/ca.pem"])

        assert paths(tree) == ["service/ca.pem"]
        assert list(reasons(tree)) == ["service/own.pem"]

    def test_ignored_by_git(self, tmp_path: Path) -> None:
        """A generated module that git ignores can be included."""
        grow(tmp_path, "service/_version.py", "service/a.log")
        (tmp_path / ".gitignore").write_text("_version.py\n*.log\n", encoding="utf-8")

        tree = walk(tmp_path, ["service"], ["**/_version.py"])

        assert paths(tree) == ["service/_version.py"]
        assert reasons(tree) == {"service/a.log": "ignored by `.gitignore`"}


class TestGitIgnore:
    def test_byte_order_mark(self, tmp_path: Path) -> None:
        """A byte order mark is not part of the first pattern, and only line feeds separate patterns, as in git."""
        grow(tmp_path, "service/a.py", "service/a.log", "service/b.py")
        (tmp_path / ".gitignore").write_bytes(b"\xef\xbb\xbf*.log\r\nx\x0cb.py\r\n")
        tree = walk(tmp_path, ["service"])

        assert ["service/a.log"] == list(reasons(tree))

    def test_pipes_are_not_read(self, tmp_path: Path) -> None:
        """A named pipe in place of `.gitignore` is not opened, which would wait forever."""
        grow(tmp_path, "service/a.py")
        os.mkfifo(tmp_path / ".gitignore")
        os.mkfifo(tmp_path / "service" / ".gitignore")

        assert ["service/a.py"] == [file.path for file in walk(tmp_path, ["service"]).files]

    def test_nested(self, tmp_path: Path) -> None:
        """The closest ignore file decides, and can negate a pattern of a parent directory."""
        grow(
            tmp_path, "service/a.log", "service/b.log", "service/deep/c.log", "service/deep/d.py", "service/local/e.py"
        )
        (tmp_path / ".gitignore").write_text("# all\n\n*.log\nlocal/\n!\n", encoding="utf-8")
        (tmp_path / "service" / ".gitignore").write_text("!b.log\n", encoding="utf-8")
        (tmp_path / "service" / "deep" / ".gitignore").write_text("/d.py\n", encoding="utf-8")

        tree = walk(tmp_path, ["service"])

        assert paths(tree) == ["service/b.log"]
        assert reasons(tree) == {
            "service/.gitignore": "version control settings",
            "service/a.log": "ignored by `.gitignore`",
            "service/deep/.gitignore": "version control settings",
            "service/deep/c.log": "ignored by `.gitignore`",
            "service/deep/d.py": "ignored by `service/deep/.gitignore`",
            "service/local/": "ignored by `.gitignore`",
        }

    def test_repository_above(self, tmp_path: Path) -> None:
        """In a repository, the ignore files of parent directories and the repository's exclude file apply."""
        project = grow(tmp_path / "services" / "orders", "service/a.py", "service/b.py", "service/c.py")
        grow(tmp_path, ".git/HEAD")
        (tmp_path / ".git" / "info").mkdir()
        (tmp_path / ".git" / "info" / "exclude").write_text("c.py\n", encoding="utf-8")
        (tmp_path / ".gitignore").write_text("services/orders/service/b.py\n", encoding="utf-8")

        tree = walk(project, ["service"])

        assert paths(tree) == ["service/a.py"]
        assert reasons(tree) == {
            "service/b.py": "ignored by `../../.gitignore`",
            "service/c.py": "ignored by `.git/info/exclude`",
        }

    def test_worktree(self, tmp_path: Path) -> None:
        """A worktree uses the exclude file of its repository."""
        grow(tmp_path, "main/.git/info/exclude", "main/.git/worktrees/w/HEAD", "w/service/a.py", "w/service/b.py")
        (tmp_path / "main/.git/info/exclude").write_text("b.py\n", encoding="utf-8")
        (tmp_path / "main/.git/worktrees/w/commondir").write_text("../..\n", encoding="utf-8")
        (tmp_path / "w/.git").write_text(f"gitdir: {tmp_path}/main/.git/worktrees/w\n", encoding="utf-8")

        assert paths(walk(tmp_path / "w", ["service"])) == ["service/a.py"]

    def test_outside_a_repository(self, tmp_path: Path) -> None:
        """Without a repository, ignore files above the project do not apply."""
        project = grow(tmp_path / "project", "service/a.py")
        (tmp_path / ".gitignore").write_text("*.py\n", encoding="utf-8")

        assert paths(walk(project, ["service"])) == ["service/a.py"]

    @pytest.mark.parametrize("pattern", ["generated/", "build/", "*.py"])
    def test_named_outright(self, tmp_path: Path, pattern: str) -> None:
        """A source named without wildcards is packaged even if git ignores it or a parent directory."""
        grow(tmp_path, "build/generated/a.txt", "build/app.py")
        (tmp_path / ".gitignore").write_text(f"{pattern}\n", encoding="utf-8")

        assert paths(walk(tmp_path, ["build/generated", "build/app.py"])) == ["app.py", "generated/a.txt"]

    def test_named_outright_before_a_wildcard(self, tmp_path: Path) -> None:
        """The path before a wildcard overrides ignore files, but ignore files below it apply."""
        grow(tmp_path, "build/generated/a.txt", "build/local.txt", "build/b.pyc")
        (tmp_path / ".gitignore").write_text("build/\n", encoding="utf-8")
        (tmp_path / "build" / ".gitignore").write_text("local*\n", encoding="utf-8")

        tree = walk(tmp_path, ["build/*"])

        assert paths(tree) == ["generated/a.txt"]
        assert sorted(reasons(tree)) == ["build/.gitignore", "build/b.pyc", "build/local.txt"]

    def test_pathspec_is_not_imported_in_vain(self, tmp_path: Path) -> None:
        """Ignore files without patterns do not import pathspec."""
        import subprocess

        grow(tmp_path, "service/a.py", ".gitignore")
        code = (
            "import sys, pathlib; from lamina.project.sources import walk; "
            "walk(pathlib.Path(sys.argv[1]), ['service']); print('pathspec' in sys.modules)"
        )

        found = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)

        assert found.stdout == "False\n"


class TestTracked:
    """Files that git tracks are packaged even if a pattern matches them."""

    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        """Return a project in a subdirectory of a repository that ignores much of it."""
        git(tmp_path, "init", "--quiet")
        (tmp_path / ".gitignore").write_text("config.py\ngenerated/\n*.json\n.env\n", encoding="utf-8")
        return grow(tmp_path / "services" / "orders", "service/app.py", "service/config.py")

    def add(self, project: Path, *paths: str) -> None:
        grow(project, *paths)
        git(project, "add", "--force", *paths)

    @pytest.mark.parametrize("source", ["service", "service/*", "service/**/*.py", "."])
    def test_file(self, project: Path, source: str) -> None:
        """A tracked file that a pattern matches is packaged by every kind of entry."""
        assert all(not path.endswith("config.py") for path in paths(walk(project, [source])))

        self.add(project, "service/config.py")

        assert "config.py" in {path.rpartition("/")[2] for path in paths(walk(project, [source]))}

    def test_ignored_directory(self, project: Path) -> None:
        """In an ignored directory, only the tracked files are packaged, whatever its own patterns add back."""
        self.add(project, "service/generated/deep/tracked.py")
        grow(project, "service/generated/other.py", "service/generated/deep/b.py", "service/generated/more/c.py")
        (project / "service/generated/.gitignore").write_text("!*.py\n", encoding="utf-8")

        tree = walk(project, ["service"])

        assert paths(tree) == ["service/app.py", "service/generated/deep/tracked.py"]
        assert reasons(tree) == {
            "service/config.py": "ignored by `../../.gitignore`",
            "service/generated/.gitignore": "version control settings",
            "service/generated/deep/b.py": "ignored by `../../.gitignore`",
            "service/generated/more/": "ignored by `../../.gitignore`",
            "service/generated/other.py": "ignored by `../../.gitignore`",
        }

    def test_named_directory(self, project: Path) -> None:
        """A source that names an ignored directory packages all its files, tracked or not."""
        self.add(project, "service/generated/a.py")
        grow(project, "service/generated/b.py")

        assert paths(walk(project, ["service/generated"])) == ["generated/a.py", "generated/b.py"]

    def test_secrets(self, project: Path) -> None:
        """A file that may contain secrets stays out and is marked, unless git ignores it."""
        self.add(project, "service/.env", "service/ca.pem", "service/.aws/credentials")
        grow(project, "service/jwt.key", "service/tests/test_a.py")
        git(project, "add", "service/tests")

        tree = walk(project, ["service"], ["service/ca.pem"])

        assert paths(tree) == ["service/app.py", "service/ca.pem"]
        assert [each.path for each in tree.ignored if each.is_noted] == [
            "service/.aws/",
            "service/.env",
            "service/jwt.key",
        ]
        assert {"service/jwt.key", "service/tests/"} < reasons(tree).keys()

    def test_submodule(self, project: Path, tmp_path: Path) -> None:
        """The files of a submodule are those that its own repository tracks."""
        inner = grow(tmp_path / "inner", "a.py", "data.json")
        git(inner, "init", "--quiet")
        (inner / ".gitignore").write_text("*.json\n", encoding="utf-8")
        git(inner, "add", "--force", ".")
        git(inner, "commit", "--quiet", "--message", "one")
        allow = ("-c", "protocol.file.allow=always")
        git(project, *allow, "submodule", "--quiet", "add", "--force", str(inner), "service/generated")
        grow(project, "service/generated/local.json")
        before = walk(project, ["service"])
        git(project / "service/generated", "add", "--force", "local.json")

        assert paths(before) == ["service/app.py", "service/generated/a.py", "service/generated/data.json"]
        assert not before.snapshot.unchanged(project)
        assert "service/generated/local.json" in paths(walk(project, ["service"]))

    def test_clone(self, project: Path) -> None:
        """The files of another repository in an ignored directory stay out, because this repository does not track it."""
        clone = grow(project / "service/generated", "a.py")
        git(clone, "init", "--quiet")
        git(clone, "add", ".")

        assert paths(walk(project, ["service"])) == ["service/app.py"]

    def test_link(self, project: Path) -> None:
        """A file behind a symbolic link to a directory is tracked under its real path."""
        self.add(project, "shared/data.json")
        (project / "service/shared").symlink_to("../shared")

        assert paths(walk(project, ["service"])) == ["service/app.py", "service/shared/data.json"]

    def test_snapshot(self, project: Path) -> None:
        """A newly tracked file is a change, and so is one that is no longer tracked; a change of other files is not."""
        self.add(project, "service/app.py", "other/a.py")
        before = walk(project, ["service"]).snapshot
        git(project.parent, "commit", "--quiet", "--message", "one")
        (project / "other/a.py").write_text("changed\n", encoding="utf-8")
        self.add(project, "other/a.py", "../b/c.py")

        assert before.unchanged(project)
        assert Snapshot.from_json(json.loads(json.dumps(before.to_json()))) == before

        self.add(project, "service/config.py")
        after = walk(project, ["service"]).snapshot

        assert not before.unchanged(project)
        assert after.unchanged(project)

        git(project, "rm", "--quiet", "--cached", "service/config.py")

        assert not after.unchanged(project)

    def test_handlers(self, project: Path) -> None:
        """A handler in a tracked file is discovered; one that git ignores is not."""
        grow(project, "service/generated/other.py")
        self.add(project, "service/generated/tracked.py")
        for path in project.rglob("generated/*.py"):
            path.write_text("def lambda_handler(event, context): ...\n", encoding="utf-8")

        assert [each.handler for each in discover(project)] == ["service.generated.tracked.lambda_handler"]

    def test_new_repository(self, tmp_path: Path) -> None:
        """A project that becomes part of a repository is a change."""
        project = grow(tmp_path / "orders", "service/a.py", "service/b.json")
        (project / ".gitignore").write_text("*.json\n", encoding="utf-8")
        before = walk(project, ["service"])
        git(tmp_path, "init", "--quiet")
        git(tmp_path, "add", "--force", ".")

        assert paths(before) == ["service/a.py"]
        assert not before.snapshot.unchanged(project)
        assert paths(walk(project, ["service"])) == ["service/a.py", "service/b.json"]

    def test_index_is_read_only_if_needed(self, project: Path) -> None:
        """Without an ignored file, the index decides nothing: it is neither read nor observed, and may be damaged."""
        (project / "service/config.py").unlink()
        (project.parents[1] / ".git/index").write_bytes(b"damaged")

        tree = walk(project, ["service"])

        assert "tracked" not in {each.kind for each in tree.snapshot.observations}

        (project.parents[1] / ".git/index").unlink()
        self.add(project, "service/config.py")
        read = walk(project, ["service"]).snapshot
        (project.parents[1] / ".git/index").write_bytes(b"damaged")

        assert not read.unchanged(project)

        with pytest.raises(PackageError) as caught:
            walk(project, ["service"])

        assert str(caught.value).startswith("could not read which files git tracks: ")


class TestLinks:
    def test_inside(self, tmp_path: Path) -> None:
        """Symbolic links to files and directories of the project are followed."""
        grow(tmp_path, "shared/a.py", "shared/deep/b.py", "service/c.py")
        (tmp_path / "service" / "shared").symlink_to("../shared")
        (tmp_path / "service" / "d.py").symlink_to(tmp_path / "shared" / "a.py")

        assert paths(walk(tmp_path, ["service"])) == [
            "service/c.py",
            "service/d.py",
            "service/shared/a.py",
            "service/shared/deep/b.py",
        ]

    def test_refused(self, tmp_path: Path) -> None:
        """Links that are broken, lead out of the project or form a cycle are reported together."""
        project = grow(tmp_path / "project", "service/a.py")
        grow(tmp_path, "outside/secret")
        (project / "service" / "out").symlink_to(tmp_path / "outside")
        (project / "service" / "hosts").symlink_to("/etc/hosts")
        (project / "service" / "gone").symlink_to("nothing")
        (project / "service" / "self").symlink_to("self")
        (project / "service" / "up").symlink_to(".")

        with pytest.raises(PackageError) as caught:
            walk(project, ["service"])

        assert str(caught.value) == (
            "could not package the sources:\n"
            "  `service/gone` is a broken symbolic link\n"
            "  `service/hosts` is a symbolic link out of the project\n"
            "  `service/out` is a symbolic link out of the project\n"
            "  `service/self` is a broken symbolic link\n"
            "  `service/up` is a symbolic link to one of its parent directories"
        )

    def test_sibling_with_the_same_beginning(self, tmp_path: Path) -> None:
        """The directory `project-2` is not inside `project`."""
        project = grow(tmp_path / "project", "service/a.py")
        grow(tmp_path, "project-2/a.py")
        (project / "service" / "b.py").symlink_to(tmp_path / "project-2" / "a.py")

        with pytest.raises(PackageError) as caught:
            walk(project, ["service"])

        assert str(caught.value) == (
            "could not package the sources: `service/b.py` is a symbolic link out of the project"
        )

    @pytest.mark.parametrize("entry", ["link/inner", "link/*", "link/**", "link"])
    def test_on_the_way(self, tmp_path: Path, entry: str) -> None:
        """An entry behind a link out of the project is rejected, with and without a wildcard."""
        project = grow(tmp_path / "project", "service/a.py")
        grow(tmp_path, "outside/inner/a.py")
        (project / "link").symlink_to("../outside")

        with pytest.raises(PackageError) as caught:
            walk(project, [entry])

        shown = "link/inner" if entry == "link/inner" else "link"
        assert (
            str(caught.value)
            == f"could not package the sources: `{shown}` leads out of the project through a symbolic link"
        )

    def test_to_a_secret(self, tmp_path: Path) -> None:
        """A link to a file that may contain secrets is left out, whatever the link's name."""
        grow(tmp_path, ".env", "service/a.py", ".git/objects/x")
        (tmp_path / "service" / "settings").symlink_to("../.env")
        (tmp_path / "service" / "objects").symlink_to("../.git/objects")

        tree = walk(tmp_path, ["service"])

        assert paths(tree) == ["service/a.py"]
        assert reasons(tree) == {
            "service/objects": "symbolic link to `.git/objects`: version control",
            "service/settings": "symbolic link to `.env`: may contain secrets",
        }

    def test_ignored_link(self, tmp_path: Path) -> None:
        """A link that is left out is not followed."""
        grow(tmp_path, "service/a.py")
        (tmp_path / "service" / ".venv").symlink_to("/usr")

        assert reasons(walk(tmp_path, ["service"])) == {"service/.venv/": "virtual environment"}

    def test_project_behind_a_link(self, tmp_path: Path) -> None:
        """The project directory may be a symbolic link."""
        grow(tmp_path / "real", "service/a.py")
        (tmp_path / "link").symlink_to("real")
        (tmp_path / "real" / "service" / "b.py").symlink_to("a.py")

        assert paths(walk(tmp_path / "link", ["service"])) == ["service/a.py", "service/b.py"]


class TestNames:
    def test_nfc(self, tmp_path: Path) -> None:
        """Names are normalised to NFC on every file system."""
        grow(tmp_path, "service/cafe\u0301.txt")

        assert paths(walk(tmp_path, ["service"])) == ["service/caf\u00e9.txt"]

    def test_both_forms(self, tmp_path: Path) -> None:
        """Two names that become equal after normalisation are rejected."""
        grow(tmp_path, "service/cafe\u0301.txt", "service/caf\u00e9.txt")

        with pytest.raises(PackageError) as caught:
            walk(tmp_path, ["service"])

        assert str(caught.value) == (
            "could not package the sources: `service/cafe\u0301.txt` and `service/caf\u00e9.txt` are different files "
            "with the same path in the package, `service/caf\u00e9.txt`"
        )

    def test_not_text(self, tmp_path: Path) -> None:
        """A name that is not UTF-8 is rejected."""
        (tmp_path / "service").mkdir()
        (tmp_path / "service" / os.fsdecode(b"\xff.py")).touch()

        with pytest.raises(PackageError) as caught:
            walk(tmp_path, ["service"])

        assert str(caught.value) == "could not package the sources: the name `'service/\\udcff.py'` is not valid UTF-8"

    def test_unreadable(self, tmp_path: Path) -> None:
        """An unsafe name is rejected."""
        grow(tmp_path, "service/a\\b.py")

        with pytest.raises(PackageError) as caught:
            walk(tmp_path, ["service"])

        with pytest.raises(UnsafeMemberError) as reason:
            check_path("service/a\\b.py")
        assert str(caught.value) == f"could not package the sources: {reason.value}"


class TestFingerprint:
    def test_order(self) -> None:
        """The fingerprint depends on paths and contents, and not on their order."""
        assert fingerprint([("a", "1"), ("b", "2")]) == fingerprint([("b", "2"), ("a", "1")])
        assert fingerprint([("a", "2"), ("b", "1")]) != fingerprint([("a", "1"), ("b", "2")])


class TestSnapshot:
    """The tree does not change as long as its snapshot is unchanged."""

    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        grow(tmp_path, "service/a.py", "service/deep/b.py", "service/tests/c.py", "shared/d.py", ".gitignore", "local")
        (tmp_path / "service" / "link").symlink_to("../shared")
        (tmp_path / "service" / "secret").symlink_to("../.env")
        return grow(tmp_path, ".env")

    @pytest.fixture(params=[0, 10_000_000_000], ids=["changed just before", "changed long before"])
    def snapshot(self, project: Path, request: pytest.FixtureRequest) -> Snapshot:
        """Return the project observed now, or observed as if ten seconds later."""
        observations = walk(project, ["service"]).snapshot.observations
        return Snapshot(
            observations=tuple(replace(each, seen_ns=each.seen_ns + request.param) for each in observations)
        )

    def test_nothing(self, project: Path, snapshot: Snapshot) -> None:
        """An unchanged tree has no change, also after a round trip through JSON."""
        assert snapshot.unchanged(project)
        assert Snapshot.from_json(json.loads(json.dumps(snapshot.to_json()))) == snapshot

    def test_touch(self, project: Path, snapshot: Snapshot) -> None:
        """A new modification time with the same content is not a change."""
        os.utime(project / "service" / "a.py")
        os.utime(project / "service")

        assert snapshot.unchanged(project)

    def test_passing_files(self, project: Path, snapshot: Snapshot) -> None:
        """Files that Python writes, and changes in ignored directories, are not changes."""
        grow(project, "service/__pycache__/a.pyc", "service/tests/e.py", "other")

        assert snapshot.unchanged(project)

    def test_same_size_and_time(self, project: Path, snapshot: Snapshot) -> None:
        """New content with the same size and modification time is a change."""
        path = project / "service" / "a.py"
        before = path.stat()
        path.write_text(path.read_text(encoding="utf-8").replace("a", "b"), encoding="utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        assert not snapshot.unchanged(project)

    @pytest.mark.parametrize(
        "change",
        [
            lambda root: grow(root, "service/new.py"),
            lambda root: grow(root, "service/deep/new.py"),
            lambda root: grow(root, "shared/new.py"),
            lambda root: (root / "service/deep/b.py").unlink(),
            lambda root: (root / "service/a.py").rename(root / "service/z.py"),
            lambda root: (root / "shared/d.py").write_text("d", encoding="utf-8"),
            lambda root: (root / ".gitignore").write_text("b.py", encoding="utf-8"),
            lambda root: (root / ".gitignore").unlink(),
            lambda root: grow(root, "service/deep/.gitignore"),
            lambda root: ((root / "service/secret").unlink(), (root / "service/secret").symlink_to("../local")),
        ],
        ids=["new", "deep", "linked", "removed", "renamed", "content", "ignore", "no ignore", "new ignore", "link"],
    )
    def test_change(self, project: Path, snapshot: Snapshot, change: object) -> None:
        """Every event that could change the tree is detected."""
        assert callable(change)
        change(project)

        assert not snapshot.unchanged(project)

    def test_absent(self, tmp_path: Path) -> None:
        """A path that appears or disappears is a change."""
        snapshot = take(tmp_path, ["lamina.toml"])

        assert snapshot.unchanged(tmp_path)

        (tmp_path / "lamina.toml").touch()

        assert not snapshot.unchanged(tmp_path)

    def test_trusted_stat(self, project: Path, snapshot: Snapshot) -> None:
        """Only files that were modified shortly before they were observed are read again."""
        forged = Snapshot(observations=tuple(replace(each, content="0" * 64) for each in snapshot.observations))
        changed_long_before = any(each.seen_ns > time.time_ns() for each in snapshot.observations)

        assert forged.unchanged(project) is changed_long_before

    @pytest.mark.parametrize(
        "rows", [None, 3, [1], [["a"]], [["a", "file", 1, 2, "b"]], [[1, "file", 1, [], "b"]], {"a": 1}]
    )
    def test_damaged(self, rows: object) -> None:
        """An invalid record gives no snapshot."""
        assert Snapshot.from_json(rows) is None


def test_link_is_no_file_with_its_name(tmp_path: Path) -> None:
    """A link `a` to `b`, and a file called `a@b`, are different content of a directory."""
    (tmp_path / "a").symlink_to("b")
    seen = take(tmp_path, ["."])
    (tmp_path / "a").unlink()
    (tmp_path / "a@b").touch()

    assert not seen.unchanged(tmp_path)
