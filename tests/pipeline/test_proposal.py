"""Test what `lamina init` proposes where a simple reading of the repository would be wrong, and builds without a `functions` table."""

from __future__ import annotations

import datetime as dt
import json
import os
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from built import MINOR
from lamina.cli.main import main
from lamina.core.errors import InvalidConfigError, LaminaError
from lamina.core.store import Store
from lamina.pipeline.proposal.propose import propose
from lamina.pipeline.proposal.text import service_text, write
from lamina.project.config import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lamina.pipeline.proposal.values import Proposal, ProposedService

RUNTIME = f"python{MINOR}"
HANDLER = "def handler(event, context):\n    return 1\n"
SAM = f"Transform: AWS::Serverless-2016-10-31\nGlobals: {{Function: {{Runtime: {RUNTIME}, CodeUri: src/, Handler: a.handler}}}}\n"
FILES = {"src/a.py": HANDLER, "requirements.txt": ""}


@pytest.fixture(scope="module", autouse=True)
def _store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Share the store between the tests, because it keeps the tables to read Terraform, which take seconds to compute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMINA_CACHE_DIR", str(tmp_path_factory.mktemp("store")))
        yield


def function(name: str, **properties: object) -> str:
    return f"  {name}: {{Type: AWS::Serverless::Function, Properties: {json.dumps(properties)}}}\n"


def sam(*functions: str) -> str:
    return f"{SAM}Resources:\n{''.join(functions)}"


def grow(root: Path, files: Mapping[str, str]) -> Path:
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return root


def proposal(root: Path, *, again: bool = False) -> Proposal:
    return propose(
        root, store=Store.open(Path(os.environ["LAMINA_CACHE_DIR"])), today=dt.date(2026, 11, 28), again=again
    )


def only(root: Path) -> ProposedService:
    (service,) = proposal(root).services
    return service


def reasons(found: Proposal) -> dict[str, str]:
    return {each.name: each.reason for each in found.skipped}


class TestTarget:
    def test_default_architecture(self, tmp_path: Path) -> None:
        """A function without an architecture has Lambda's default, so one arm64 function does not decide for all."""
        root = grow(
            tmp_path,
            {**FILES, "template.yaml": sam(function("A"), function("B"), function("C", Architectures=["arm64"]))},
        )

        found = proposal(root)

        (service,) = found.services
        assert str(service.target.architecture) == "x86_64"
        assert [each.name for each in service.functions] == ["A", "B"]
        assert reasons(found) == {
            "C": f"uses arm64, but the service is for {RUNTIME} on x86_64; give the function a service of its own"
        }

    def test_old_runtime(self, tmp_path: Path) -> None:
        """A function with a runtime that lamina does not know does not stop the others."""
        root = grow(tmp_path, {**FILES, "template.yaml": sam(function("A"), function("Old", Runtime="python2.7"))})

        found = proposal(root)

        assert [each.name for each in found.services[0].functions] == ["A"]
        assert reasons(found)["Old"].startswith("uses python2.7, but the service is for")

    def test_guess_with_two_runtimes(self, tmp_path: Path) -> None:
        """If the sources of a CDK app name several runtimes, lamina lists them and guesses none."""
        app = "import aws_cdk.aws_lambda as l\na = l.Runtime.PYTHON_3_11\nb = l.Runtime.PYTHON_3_12\n"
        root = grow(tmp_path, {**FILES, "cdk.json": "{}", "app.py": app})

        found = proposal(root)

        assert [each.reason for each in found.skipped] == [
            "it has no `cdk.out`: run `cdk synth` and `lamina init` again to read the functions of the app",
            "the app names several values: python3.11 (app.py:2), python3.12 (app.py:3)",
        ]


class TestSources:
    def test_patterns(self, tmp_path: Path) -> None:
        """Patterns that choose files become entries; those that leave out files are named."""
        text = f"""
provider: {{name: aws, runtime: {RUNTIME}}}
package: {{individually: true, patterns: ['!secret/**', '!node_modules/**']}}
functions:
  a: {{handler: functions/a/app.handler, package: {{patterns: ['!**', 'functions/a/**', 'one.py']}}}}
  b: {{handler: one.handler}}
"""
        sources = {"functions/a/app.py": HANDLER, "one.py": HANDLER, "secret/keys.py": "", "functions/b/x.py": ""}
        root = grow(tmp_path, {**sources, "requirements.txt": "", "serverless.yml": text})

        service = only(root)

        assert {each.name: each.source for each in service.functions} == {
            "a": ("**/functions/a/**", "one.py"),
            "b": (".",),
        }
        (note,) = service.notes
        assert note.startswith("`!secret/**` is not applied, so these files are packaged: ")

    def test_code_in_a_layer(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Python code in an own layer is added to the functions that use it."""
        layer = "  Shared: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: layer/}}\n"
        template = sam(function("A", Layers=[{"Ref": "Shared"}]), function("B"), layer)
        sources = {
            "src/a.py": "def handler(event, context):\n    import shared\n    return shared.X\n",
            "layer/python/shared/__init__.py": "X = 7\n",
        }
        root = grow(tmp_path, {**sources, "requirements.txt": "", "template.yaml": template})

        service = only(root)
        write(proposal(root))

        assert {each.name: each.source for each in service.functions} == {
            "A": ("src/*", "layer/python/*"),
            "B": ("src/*",),
        }
        assert "Python code in it is added to the functions that use it" in service.notes[0]
        assert main(["build", "-q", "--project", str(root)]) == 0
        with zipfile.ZipFile(root / ".lamina/functions/A.zip") as archive:
            assert "shared/__init__.py" in archive.namelist()

    def test_layer_outside_the_service(self, tmp_path: Path) -> None:
        """The code of a layer outside the directory of the service cannot be packaged, and is named."""
        layer = "  Shared: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: layer/}}\n"
        template = sam(function("A", CodeUri="svc/code", Layers=[{"Ref": "Shared"}]), layer)
        files = {"svc/code/a.py": HANDLER, "layer/python/shared.py": "", "svc/requirements.txt": "", "svc/uv.lock": ""}
        root = grow(tmp_path, {**files, "template.yaml": template})

        service = only(root)

        assert (service.directory.name, service.functions[0].source) == ("svc", ("code/*",))
        assert any("uses code outside its service" in note for note in service.notes)
        assert not any("is added" in note for note in service.notes)
        write(proposal(root))
        assert [each.name for each in load(root / "svc").functions] == ["A"]

    def test_false_condition(self, tmp_path: Path) -> None:
        """A function that is never deployed is skipped."""
        conditional = "  Never: {Type: AWS::Serverless::Function, Condition: No1, Properties: {}}\n"
        template = sam(function("A"), conditional) + "Conditions: {No1: !Equals [a, b]}\n"

        found = proposal(grow(tmp_path, {**FILES, "template.yaml": template}))

        assert reasons(found) == {"Never": "its condition `No1` is false"}

    def test_environments(self, tmp_path: Path) -> None:
        """The same function in two templates is one function; other settings are named."""
        files = {
            f"deploy/template-{name}.yaml": sam(function("A", MemorySize=size))
            for name, size in (("dev", 128), ("prod", 512))
        }
        root = grow(tmp_path, {**FILES, **{path: text.replace("src/", "../src/") for path, text in files.items()}})

        service = only(root)

        assert [(each.name, each.memory_mb) for each in service.functions] == [("A", 128)]
        assert service.notes == (
            "`A` has other settings in deploy/template-prod.yaml:4 than in deploy/template-dev.yaml:4, which count",
        )

    def test_many_guesses(self, tmp_path: Path) -> None:
        """Functions whose code a script zips are found by their handlers, with one walk through the repository."""
        resources = "".join(
            f'resource "aws_lambda_function" "f{number}" {{\n  filename = "build/f.zip"\n  runtime = "{RUNTIME}"\n'
            f'  handler = "h{number}.handler"\n}}\n'
            for number in range(30)
        )
        files = {f"code/h{number}.py": HANDLER for number in range(30)}
        service = only(grow(tmp_path, {**files, "requirements.txt": "", "main.tf": resources}))

        assert len(service.functions) == 30
        assert service.source == ("code/*",)

    def test_names_with_wildcards(self, tmp_path: Path) -> None:
        """Characters of globs in a directory's name do not choose other directories."""
        files = {"s[r]*c/a.py": HANDLER, "src/a.py": HANDLER, "requirements.txt": ""}
        root = grow(tmp_path, {**files, "template.yaml": sam(function("A", CodeUri="s[r]*c"))})
        write(proposal(root))
        (root / "s[r]*c/a.py").write_text(f"{HANDLER}# this one\n")

        assert main(["build", "-q", "--project", str(root)]) == 0
        with zipfile.ZipFile(root / ".lamina/functions/A.zip") as archive:
            assert archive.read("a.py").decode().endswith("# this one\n")

    @pytest.mark.parametrize("handler", ["app", "", ".h", "app..h", "../src/app.h", "app.h ", "app\x7f.h!"])
    def test_invalid_handlers(self, tmp_path: Path, handler: str) -> None:
        """A function whose handler Lambda cannot import is skipped."""
        root = grow(tmp_path, {**FILES, "template.yaml": sam(function("A"), function("B", Handler=handler))})

        found = proposal(root)

        assert [each.name for each in found.services[0].functions] == ["A"]
        assert [each.name for each in found.skipped] == ["B"]

    def test_secrets(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The value of a parameter with `NoEcho` is neither shown nor kept."""
        properties = {"Handler": {"Fn::Sub": "${Pw}.h"}, "Layers": [{"Ref": "Pw"}], "Architectures": [{"Ref": "Pw"}]}
        template = (
            sam(function("A", **properties)) + "Parameters: {Pw: {Type: String, NoEcho: true, Default: HUNTER2}}\n"
        )
        root = grow(tmp_path, {**FILES, "template.yaml": template})

        assert main(["init", "--project", str(root), "--dry-run"]) == 0
        proposal(root)

        captured = capsys.readouterr()
        assert "HUNTER2" not in captured.out + captured.err
        assert not any(b"HUNTER2" in path.read_bytes() for path in root.glob(".lamina/store/**/*.json"))


class TestSeveral:
    def test_terraform_beside_a_cdk_app(self, tmp_path: Path) -> None:
        """A synthesized CDK app does not hide the Terraform files of another service."""
        manifest = {"version": "1", "artifacts": {}}
        terraform = (
            'data "archive_file" "z" {\n  type = "zip"\n  source_dir = "../src"\n  output_path = "z.zip"\n}\n'
            'resource "aws_lambda_function" "f" {\n  filename = data.archive_file.z.output_path\n'
            f'  handler = "a.handler"\n  runtime = "{RUNTIME}"\n}}\n'
        )
        files = {"cdk.json": "{}", "cdk.out/manifest.json": json.dumps(manifest), "infra/main.tf": terraform}

        service = only(grow(tmp_path, {**FILES, **files}))

        assert [(each.name, each.handler) for each in service.functions] == [("f", "a.handler")]

    def test_above(self, tmp_path: Path) -> None:
        """A template above the directory is mentioned, up to the root of the repository."""
        root = grow(tmp_path, {**FILES, "template.yaml": sam(function("A")), ".git/config": ""})

        found = proposal(root / "src")

        assert found.notes == (
            f"`../template.yaml` may describe functions too: to read it, run `lamina init` in `{root}`",
        )

    def test_broken_beside_a_good_one(self, tmp_path: Path) -> None:
        """A template that does not parse, such as a skeleton, does not stop the others, and is named."""
        files = {
            "template.yaml": sam(function("A")),
            "skeleton/template.yaml": f"{SAM}Resources:\n  {{{{ name }}}}: [\n",
        }

        found = proposal(grow(tmp_path, {**FILES, **files}))

        assert [each.name for each in found.services[0].functions] == ["A"]
        assert reasons(found)["skeleton/template.yaml"].startswith("`skeleton/template.yaml`, line ")

    def test_only_a_broken_one(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """If nothing else describes functions, a template that does not parse is the error."""
        root = grow(tmp_path, {**FILES, "template.yaml": f"{SAM}Resources: [\n"})

        assert main(["init", "--project", str(root)]) == 2
        assert "`template.yaml`, line " in capsys.readouterr().err

    def test_new_member(self, tmp_path: Path) -> None:
        """A new service of a configured workspace is to be added to its members by hand."""
        files = {f"services/{name}/{path}": text for name in ("a", "b") for path, text in FILES.items()}
        templates = {f"services/{name}/template.yaml": sam(function("A")) for name in ("a", "b")}
        root = grow(tmp_path, {**files, **templates})
        write(proposal(root))
        grow(
            root, {f"services/c/{path}": text for path, text in {**FILES, "template.yaml": sam(function("C"))}.items()}
        )

        found = proposal(root)

        assert [each.directory.name for each in found.services] == ["c"]
        assert found.notes == (
            f"add `services/c` to `members` in `{root / 'lamina.toml'}`, so that `lamina build` includes it",
        )


class TestArguments:
    def test_no_directory(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A directory that does not exist is an error, and is not created."""
        assert main(["init", "--project", str(tmp_path / "none")]) == 2
        assert capsys.readouterr().err.startswith(
            f"error: the directory `{tmp_path / 'none'}` of `--project` does not exist\n"
        )
        assert not (tmp_path / "none").exists()

    def test_template_from_elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The path of `--template` is relative to the current directory, as the user types it."""
        root = grow(tmp_path, {f"svc/{path}": text for path, text in {**FILES, "x.yaml": sam(function("A"))}.items()})
        monkeypatch.chdir(root)

        assert main(["init", "-q", "--project", "svc", "--template", "svc/x.yaml"]) == 0
        assert [each.name for each in load(root / "svc").functions] == ["A"]

    def test_link_out_of_the_project(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A configuration file that is a link out of the project is not written."""
        root = grow(
            tmp_path, {f"svc/{path}": text for path, text in {**FILES, "template.yaml": sam(function("A"))}.items()}
        )
        (root / "svc/lamina.toml").symlink_to("../outside.toml")

        assert main(["init", "--project", str(root / "svc")]) == 2
        assert "is a symbolic link out of" in capsys.readouterr().err
        assert not (root / "outside.toml").exists()


class TestText:
    @pytest.mark.parametrize(
        "files",
        [
            {
                "template.yaml": sam(function("A"))
                + "  L: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: lay/}, "
                "Metadata: {BuildMethod: python3.13, BuildArchitecture: x86_64}}\n",
                "lay/requirements.txt": "",
            },
            {
                "serverless.yml": f"provider: {{name: aws, runtime: {RUNTIME}}}\nfunctions: {{pdf: {{handler: src/a.handler}}}}\n"
                "custom: {pythonRequirements: {noDeploy: [boto3, pytest]}}\n",
                "pyproject.toml": '[project]\nname = "x"\nversion = "0"\n[dependency-groups]\npdf = []\n',
            },
            {"main.tf": 'resource "aws_lambda_function" "f" {\n  for_each = {"a.b \\"c" = 1}\n  filename = "x.zip"\n'
             f'  handler = "a.handler"\n  runtime = "{RUNTIME}"\n  memory_size = 64\n}}\n'},
        ],
        ids=["BuildArchitecture", "noDeploy and a group", "names and memory"],
    )  # fmt: skip
    def test_is_valid(self, tmp_path: Path, files: dict[str, str]) -> None:
        """What `lamina init` writes is valid TOML, and is accepted as a configuration."""
        root = grow(tmp_path, {**FILES, **files})
        found = proposal(root)

        tomllib.loads(service_text(found.services[0]))
        write(found)
        assert len(load(root).functions) == 1

    def test_included_requirements(self, tmp_path: Path) -> None:
        """A requirements file that only includes another one has requirements, which must be locked."""
        root = grow(
            tmp_path,
            {**FILES, "requirements.txt": "-r base.txt\n", "base.txt": "six\n", "template.yaml": sam(function("A"))},
        )

        assert (only(root).lock.command or "").endswith("requirements.txt -o requirements-lock.txt")


class TestDiff:
    def test_what_differs(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """`--diff` lists new, changed and removed functions, also if the lock is missing and the sources have moved."""
        files = {
            **FILES,
            "requirements.txt": "six\n",
            "template.yaml": sam(function("A"), function("B"), function("C", MemorySize=256)),
        }
        root = grow(tmp_path, files)
        assert main(["init", "-q", "--project", str(root)]) == 0
        assert main(["init", "--diff", "-q", "--project", str(root)]) == 0
        (root / "src").rename(root / "code")
        text = sam(function("A"), function("C", MemorySize=512), function("D")).replace("src/", "code/")
        grow(root, {"template.yaml": text.replace("a.handler", "b.handler")})
        capsys.readouterr()

        code = main(["init", "--diff", "--project", str(root)])

        assert code == 1
        assert capsys.readouterr().out == (
            "lamina.toml\n"
            "  ~ A: handler a.handler → b.handler (template.yaml:4)\n"
            "  ~ A: source src/* → code/* (template.yaml:4)\n"
            "  ~ C: handler a.handler → b.handler (template.yaml:5)\n"
            "  ~ C: source src/* → code/* (template.yaml:5)\n"
            "  ~ C: memory 256 → 512 (template.yaml:5)\n"
            "  + D = b.handler (template.yaml:6)\n"
            "  - B = a.handler\n"
        )

    @pytest.mark.parametrize("tool", ["sam", "serverless", "terraform"])
    def test_deployed_zips(self, tmp_path: Path, tool: str, capsys: pytest.CaptureFixture[str]) -> None:
        """A function that deploys a zip which lamina writes is the configured one with its name. New names and handlers are shown."""
        names = {"a": "a.handler", "b": "a.handler", "c": "x.handler"}
        zips = {name: f".lamina/functions/{name}.zip" for name in names}
        files = {
            "sam": {
                "template.yaml": sam(*(function(f"F{each}", CodeUri=zips[each], Handler=names[each]) for each in names))
            },
            "serverless": {
                "serverless.yml": "service: s\nprovider: {name: aws, runtime: python3.13}\nfunctions:\n"
                + "".join(
                    f"  F{each}: {{handler: {names[each]}, package: {{artifact: {zips[each]}}}}}\n" for each in names
                )
            },
            "terraform": {
                "main.tf": "".join(
                    f'resource "aws_lambda_function" "F{each}" {{\n  filename = "{zips[each]}"\n  handler = "{names[each]}"\n'
                    '  runtime = "python3.13"\n}\n'
                    for each in names
                )
            },
        }[tool]
        functions = '[functions]\na = "a.handler"\nb = "b.handler"\nold = "a.handler"\n'
        head = 'runtime = "python3.13"\narchitecture = "x86_64"\nsource = ["src/*"]\n'
        root = grow(tmp_path, {**FILES, **files, "lamina.toml": f"{head}{functions}"})

        assert main(["init", "--diff", "--project", str(root)]) == 1
        out, err = capsys.readouterr()
        assert [
            "lamina.toml",
            "  ~ b: handler b.handler → a.handler",
            "  + c = x.handler",
            "  - old = a.handler",
        ] == [line.partition(" (")[0] for line in out.splitlines()]
        assert "skipped" not in err
        grow(root, {"lamina.toml": f"{head}[functions]\na = 'a.handler'\nb = 'a.handler'\nc = 'x.handler'\n"})
        assert main(["init", "--diff", "--project", str(root)]) == 0

    def test_values_of_the_user(self, tmp_path: Path) -> None:
        """A runtime or an architecture that no template sets is not compared."""
        template = sam(function("A", Runtime={"Ref": "R"})) + "Parameters: {R: {Type: String}}\n"
        root = grow(tmp_path, {**FILES, "template.yaml": template})
        arguments = ["--project", str(root), "--runtime", "python3.12", "--architecture", "arm64"]

        assert main(["init", "-q", *arguments]) == 0
        assert main(["init", "--diff", "-q", "--project", str(root)]) == 0

    def test_new_service(self, tmp_path: Path) -> None:
        """A service that is not configured yet is a difference."""
        files = {f"{name}/{path}": text for name in ("a", "b") for path, text in FILES.items()}
        root = grow(tmp_path, {**files, "a/template.yaml": sam(function("A"))})
        write(proposal(root))
        assert main(["init", "--diff", "-q", "--project", str(root)]) == 0
        grow(root, {"b/template.yaml": sam(function("B"))})

        assert main(["init", "--diff", "-q", "--project", str(root)]) == 1

    def test_not_configured(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Without a configuration there is nothing to compare."""
        root = grow(tmp_path, {**FILES, "template.yaml": sam(function("A"))})

        assert main(["init", "--diff", "--project", str(root)]) == 2
        assert capsys.readouterr().err.startswith(f"error: no service in `{root}` is configured\n")


class TestLayersOfOthers:
    """Layers of other accounts that a template has when lamina is set up are allowed; later ones are refused."""

    TRACING = "arn:aws:lambda:${AWS::Region}:464622532012:layer:Datadog-Extension:80"
    OWN = "arn:aws:lambda:eu-west-1:${AWS::AccountId}:layer:own:1"
    OTHER = "arn:aws:lambda:eu-west-1:123456789012:layer:other:2"

    def layers(self, *arns: str) -> str:
        return function("A", Layers=[{"Fn::Sub": arn} for arn in arns])

    def test_first_build(self, tmp_path: Path) -> None:
        """Every version of a layer is allowed, with a reason; the deployment's own account needs no entry."""
        prebuilt = function("C", Layers=[self.OTHER.replace("other", "third")], CodeUri="c.zip")
        template = sam(self.layers(self.TRACING, self.OWN), function("B", Layers=[self.OTHER]), prebuilt)
        root = grow(tmp_path, {**FILES, "template.yaml": template})

        assert main(["init", "-q", "--project", str(root)]) == 0
        assert main(["build", "-q", "--project", str(root)]) == 0
        assert main(["check", "-q", "--project", str(root)]) == 0
        service = load(root)

        assert [(each.pattern, each.reason) for each in service.allow_layers] == [
            ("arn:aws:lambda:*:464622532012:layer:Datadog-Extension", "in template.yaml when lamina was set up"),
            ("arn:aws:lambda:eu-west-1:123456789012:layer:other", "in template.yaml when lamina was set up"),
            ("arn:aws:lambda:eu-west-1:123456789012:layer:third", "in template.yaml when lamina was set up"),
        ]
        assert [each.layer_arns for each in service.functions] == [
            (self.TRACING.replace("${AWS::Region}", "*"), self.OWN),
            (self.OTHER,),
        ]

    def test_later_layer(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """`--diff` shows the layers that the template has got since, with their place. A new version is allowed already."""
        root = grow(tmp_path, {**FILES, "template.yaml": sam(self.layers(self.TRACING))})
        assert main(["init", "-q", "--project", str(root)]) == 0
        grow(root, {"template.yaml": sam(self.layers(self.TRACING.replace(":80", ":81"), self.OWN, self.OTHER))})
        capsys.readouterr()

        assert main(["init", "--diff", "--project", str(root)]) == 1
        before, own = self.TRACING.replace("${AWS::Region}", "*"), self.OWN
        after = before.replace(":80", ":81")
        assert capsys.readouterr().out == (
            f"lamina.toml\n  + allow-layers: {self.OTHER} (template.yaml:4)\n"
            f"  ~ A: layer-arns {before} → {after}, {own}, {self.OTHER} (template.yaml:4)\n"
        )

    @pytest.mark.parametrize(
        ("layers", "difference"),
        [
            ([{"Fn::Sub": TRACING}], None),
            ([TRACING.replace("${AWS::Region}", "eu-west-1")], None),
            ([{"Ref": "Unknown"}], None),
            ([], "none"),
            ([{"Fn::Sub": OTHER}], OTHER),
            ([{"Fn::Sub": OTHER}, {"Ref": "Unknown"}], f"{TRACING.replace('${AWS::Region}', '*')}, {OTHER}"),
            ([{"Fn::Sub": TRACING.replace(":80", ":*")}, {"Ref": "Unknown"}], None),
        ],
    )
    def test_changed_layers(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], layers: list[object], difference: str | None
    ) -> None:
        """`--diff` compares the layers of each function, unless only the deployment knows those of the template."""
        root = grow(
            tmp_path, {**FILES, "template.yaml": sam(self.layers(self.TRACING), function("B", Layers=[self.OTHER]))}
        )
        assert main(["init", "-q", "--project", str(root)]) == 0
        template = sam(function("A", Layers=layers), function("B", Layers=[self.OTHER]))
        grow(root, {"template.yaml": template + "Parameters: {Unknown: {Type: String}}\n"})
        capsys.readouterr()

        assert main(["init", "--diff", "--project", str(root)]) == int(difference is not None)
        line = f"  ~ A: layer-arns {self.TRACING.replace('${AWS::Region}', '*')} → {difference} (template.yaml:4)\n"
        assert capsys.readouterr().out.endswith(line) is (difference is not None)

    def test_without_functions(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A build that takes the functions from the template refuses a layer that is not allowed, with the template's line."""
        files = {**FILES, "template.yaml": sam(self.layers(self.TRACING)), "lamina.toml": ""}

        assert main(["build", "--project", str(grow(tmp_path, files))]) == 1
        assert "`arn:aws:lambda:*:464622532012:layer:Datadog-Extension:80` (Datadog" in capsys.readouterr().err


class TestWithoutFunctions:
    """Builds of services whose functions only the template lists."""

    def build(self, root: Path) -> list[str]:
        assert main(["build", "-q", "--project", str(root)]) == 0
        return sorted(path.stem for path in (root / ".lamina" / "functions").glob("*.zip"))

    def test_follows_the_template(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A build takes the functions from the template, notices its changes, and does nothing if there are none."""
        root = grow(tmp_path, {**FILES, "lamina.toml": "", "template.yaml": sam(function("A"))})

        assert self.build(root) == ["A"]
        assert main(["build", "--project", str(root)]) == 0
        assert "nothing to do" in capsys.readouterr().err
        grow(root, {"template.yaml": sam(function("A"), function("B"))})
        assert self.build(root) == ["A", "B"]

    def test_a_file_becomes_a_template(self, tmp_path: Path) -> None:
        """A file that had no functions at the last build is read again when it changes."""
        root = grow(tmp_path, {**FILES, "lamina.toml": f'runtime = "{RUNTIME}"\n', "template.yaml": "Resources: {}\n"})

        assert self.build(root) == []
        grow(root, {"template.yaml": sam(function("A"))})
        assert self.build(root) == ["A"]

    def test_nested_templates(self, tmp_path: Path) -> None:
        """A nested template in the same directory is a part of its parent, and a change of it is noticed."""
        parent = sam("  Api: {Type: AWS::Serverless::Application, Properties: {Location: api.yaml}}\n", function("A"))
        root = grow(tmp_path, {**FILES, "lamina.toml": "", "template.yaml": parent, "api.yaml": sam(function("B"))})

        assert self.build(root) == ["A", "B"]
        grow(root, {"api.yaml": sam(function("C"))})
        assert self.build(root) == ["A", "C"]

    @pytest.mark.parametrize(
        ("configuration", "template", "mistake"),
        [
            ("", sam(function("A", Handler={"Ref": "H"})) + "Parameters: {H: {Type: String}}\n", "unknown handler: parameter `H` has no default"),
            ("", sam(function("A", Runtime={"Ref": "R"})) + "Parameters: {R: {Type: String}}\n", "runtime: missing required key; `A` (template.yaml:4): parameter `R` has no default"),
            ("", sam(function("A"), function("B", Architectures=["arm64"])), "architecture: missing required key; the functions in `template.yaml` use `arm64`, `x86_64`"),
            (f'runtime = "{RUNTIME}"\n', sam(function("A"), function("B", Runtime="python2.7")), "runtime: `B` (template.yaml:5) uses `python2.7`"),
            ("", sam(function("A", MemorySize=64)), "`template.yaml`: functions.A.memory: 64 MB is out of range"),
        ],
    )  # fmt: skip
    def test_what_a_build_refuses(self, tmp_path: Path, configuration: str, template: str, mistake: str) -> None:
        """A value that only the deployment decides, or that does not fit, is an error with its place."""
        root = grow(tmp_path, {**FILES, "lamina.toml": configuration, "template.yaml": template})

        with pytest.raises(InvalidConfigError) as caught:
            load(root, store=Store.open(tmp_path / "store"))

        assert mistake in str(caught.value)

    def test_what_is_not_built(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A build names the functions of the template that it does not build."""
        template = sam(function("A"), function("Page", Runtime="nodejs22.x"))
        root = grow(tmp_path, {**FILES, "lamina.toml": "", "template.yaml": template})

        assert main(["build", "--project", str(root)]) == 0
        assert (
            "note: `Page` (template.yaml:5) is not built: runtime nodejs22.x is not Python\n" in capsys.readouterr().err
        )

    def test_two_templates(self, tmp_path: Path) -> None:
        """Two templates with functions are an error, until `template` names one."""
        files = {"a.yaml": sam(function("A")), "b.yaml": sam(function("B"))}
        root = grow(tmp_path, {**FILES, **files, "lamina.toml": ""})

        with pytest.raises(LaminaError) as caught:
            load(root)
        assert "set it to one of `a.yaml`, `b.yaml`" in str(caught.value)
        grow(root, {"lamina.toml": 'template = "b.yaml"\n'})
        assert [each.name for each in load(root).functions] == ["B"]
