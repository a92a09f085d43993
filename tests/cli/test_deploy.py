"""Test ``lamina deploy`` from the command line with an emulated AWS."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from aws.faults import bad_line
from emulators import knows_storage_mode
from lamina.aws.api.account import Account
from lamina.aws.publish.bucket_policy import ready_policy
from lamina.cli.main import main
from lamina.core.values import code_sha256
from services import HANDLER, Service, make_service

if TYPE_CHECKING:
    from pathlib import Path

    from emulators import Emulator

OWN_ALIAS = "`lamina-deploying` is the alias that lamina creates and deletes during a deployment"
ROLE = "arn:aws:iam::000000000000:role/service"


class Shop:
    """A service with one function, with names that no other test uses."""

    def __init__(self, directory: Path, emulator: Emulator) -> None:
        self.name = f"s{uuid.uuid4().hex[:10]}"
        self.service: Service = make_service(directory)
        self.lambda_: Any = emulator.client("lambda")
        self.write()

    def write(self, code: str = HANDLER, publishing: str = "") -> None:
        self.service.write()
        handlers = self.service.root / "service" / "handlers"
        (handlers / "hello.py").write_text(code)
        with (self.service.root / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write(f'[tool.lamina.publish]\nlayer-name = "{self.name}-{{layer}}"\n{publishing}')
            file.write(f'[tool.lamina.deploy]\nfunction-name = "{self.name}-{{function}}"\n')

    def run(self, *words: str) -> int:
        return main(["deploy", "--project", str(self.service.root), *words])

    @property
    def function(self) -> str:
        return f"{self.name}-hello"

    def latest(self) -> dict[str, Any]:
        return dict(self.lambda_.get_function_configuration(FunctionName=self.function))

    def pointed(self, alias: str = "live") -> dict[str, Any]:
        return dict(self.lambda_.get_function_configuration(FunctionName=self.function, Qualifier=alias))

    def layers(self) -> list[str]:
        return [row["Arn"] for row in self.latest().get("Layers", ())]

    def code(self) -> str:
        build = json.loads((self.service.root / ".lamina" / "build.json").read_text())
        return code_sha256(build["functions"][0]["sha256"])


@pytest.fixture
def shop(tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "cache"))
    return Shop(tmp_path, ministack)


def test_life_of_a_function(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """A function is created, kept and updated; the alias always points at the newest version."""
    codes = [shop.run("--create", "--role", ROLE, "--alias", "live", "--json")]
    made = json.loads(capsys.readouterr().out)
    first = shop.pointed()
    codes.append(shop.run("--check", "--alias", "live"))
    shop.write(HANDLER + "# changed\n")
    codes.append(shop.run("--check", "--alias", "live"))
    unchanged = shop.latest()["CodeSha256"]
    capsys.readouterr()
    codes.append(shop.run("--json"))  # The alias exists now.
    changed = json.loads(capsys.readouterr().out)

    assert [0, 0, 1, 0] == codes
    assert ["create"] == [row["action"] for row in made["functions"]]
    assert first["CodeSha256"] == unchanged
    assert [("deploy", ["code"], "live", "2")] == [
        (row["action"], row["updates"], row["alias"], row["function_version"]) for row in changed["functions"]
    ]
    assert (shop.code(), "2") == (shop.pointed()["CodeSha256"], shop.pointed()["Version"])
    assert [f"{shop.name}-common:1"] == [arn.partition(":layer:")[2] for arn in shop.layers()]


@pytest.mark.parametrize("words", [("--dry-run",), ("--check",)])
def test_layer_of_another_account(
    shop: Shop,
    words: tuple[str, ...],
    ministack: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A function with a layer of another account is neither planned nor changed, until the configuration allows the layer."""
    shop.run("--create", "--role", ROLE)
    content = {"ZipFile": (shop.service.root / ".lamina" / "layers" / "common.zip").read_bytes()}
    name = f"{shop.name}-agent"
    version = shop.lambda_.publish_layer_version(LayerName=name, Content=content)["LayerVersionArn"]
    shop.lambda_.update_function_configuration(FunctionName=shop.function, Layers=[*shop.layers(), version])
    layer = version.replace("000000000000", "464622532012")
    allowed = f'[{{ arn = "arn:aws:lambda:*:464622532012:layer:{name}", reason = "an agent" }}]'
    shop.write(HANDLER + "# changed\n")
    before = shop.latest()["RevisionId"]
    capsys.readouterr()
    with bad_line(ministack.url) as line:
        line.other = (version, layer)
        monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
        refused = shop.run(*words)
        after, message = shop.latest()["RevisionId"], capsys.readouterr().err
        shop.service.settings["allow-layers"] = allowed
        shop.write(HANDLER + "# changed\n")
        accepted = shop.run(*words)

    assert (1, int("--check" in words)) == (refused, accepted)
    assert (
        f"error: function `{shop.function}` has the layer `{layer}` of another account; build it from your lock file"
        in message
    )
    assert f"add `{allowed.replace('an agent', '…')[1:-1]}` to `allow-layers`" in message
    assert before == after
    assert version in shop.layers()


def test_new_layer(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """An updated dependency is published and attached; without an alias, the plan states that callers see an intermediate state."""
    shop.run("--create", "--role", ROLE)
    shop.service.add("alpha", "1.1", {"alpha/__init__.py": "VALUE = 2\n"})
    shop.write(HANDLER + "# changed\n")
    capsys.readouterr()
    code = shop.run()
    captured = capsys.readouterr()

    assert 0 == code
    assert [f"{shop.name}-common:2"] == [arn.partition(":layer:")[2] for arn in shop.layers()]
    assert shop.layers() == captured.out.split()
    assert (
        "for some seconds between the updates, $LATEST runs the old code with the new layers; "
        "this affects every call that names no version"
    ) in captured.err
    assert shop.code() == shop.latest()["CodeSha256"]


SEVERAL = '[tool.lamina.layers.common]\nwithout = ["alpha"]\n[tool.lamina.layers.extra]\nonly = ["alpha"]\n'
NEEDED = '[tool.lamina.layers.needed]\nonly = ["alpha"]\n'


def test_other_packagings(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """A function loses every layer of the service that it no longer needs, whether or not the configuration still names it."""
    kept = shop.lambda_.publish_layer_version(
        LayerName=f"{shop.name}-common-tools",
        Description="by hand",
        Content={"ZipFile": shop.service.locked["beta"].read_bytes()},
    )["LayerVersionArn"]
    found: list[tuple[int, bool, list[str], list[str], list[str]]] = []
    for layers, packaging, more in [
        (SEVERAL, "layer", 'layers = ["common", "extra"]'),
        ("", "zip", None),
        ("", "layer", None),
        (NEEDED, "zip", 'layers = ["needed"]'),
    ]:
        shop.service.settings["packaging"] = f'"{packaging}"'
        shop.service.more = {} if more is None else {"hello": more}
        shop.write(publishing=layers)
        create = () if found else ("--create", "--role", ROLE, "--alias", "live")
        capsys.readouterr()
        code = shop.run(*create, "--json")
        (row,) = json.loads(capsys.readouterr().out)["functions"]
        is_same = shop.pointed()["CodeSha256"] == shop.code() == shop.latest()["CodeSha256"]
        names = [arn.partition(f":layer:{shop.name}-")[2] for arn in shop.layers()]
        assert shop.layers() == [each["Arn"] for each in shop.pointed().get("Layers", [])]
        found.append((code, is_same, names, row["updates"], row["notes"]))
        if len(found) == 1:
            shop.lambda_.update_function_configuration(FunctionName=shop.function, Layers=[*shop.layers(), kept])

    before, _, name = kept.rpartition(":layer:")
    gone = f"removes the layer `{before}:layer:{shop.name}-{{}}`, which the service no longer has"
    by_hand = f"$LATEST was changed since callers got their version: layer `{kept}` (added); this deployment publishes this too"
    assert name == f"{shop.name}-common-tools:1"
    assert found == [
        (0, True, ["common:1", "extra:1"], [], []),
        (0, True, ["common-tools:1"], ["code", "layers"], [gone.format("extra:1"), by_hand]),
        (0, True, ["common-tools:1", "common:2"], ["layers", "code"], []),
        (0, True, ["common-tools:1"], ["code", "layers"], [gone.format("common:2")]),
    ]


def test_files_for_pipelines(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--output` writes the report of a plan or of a deployment, and `--env-file` the ARNs of the layers, as with `publish`."""
    output, variables = tmp_path / "report.json", tmp_path / "layers.env"
    codes = [shop.run("--migrate", "--output", str(output))]
    planned = json.loads(output.read_text())
    codes.append(shop.run("--create", "--role", ROLE, "--output", str(output), "--env-file", str(variables)))
    (arn,) = capsys.readouterr().out.split()[-1:]
    written = variables.read_text()
    codes.append(shop.run("--check", "--env-file", str(variables)))

    assert [0, 0, 2] == codes
    assert ["create"] == [row["action"] for row in planned["functions"]]
    assert [("deployed", None)] == [(row["outcome"], row["error"]) for row in json.loads(output.read_text())["places"]]
    assert f"LAMINA_LAYER_COMMON={arn}\n" == written
    assert "`--env-file` is not allowed with `--check`, which publishes no versions" in capsys.readouterr().err


def test_dry_run_changes_nothing(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run shows the layers and functions that would change, and changes none of them."""
    shop.run("--create", "--role", ROLE)
    shop.service.add("alpha", "1.1")
    shop.write()
    before = shop.latest()["RevisionId"]
    capsys.readouterr()
    code = shop.run("--dry-run", "--json")
    (row,) = json.loads(capsys.readouterr().out)["functions"]

    assert (0, before) == (code, shop.latest()["RevisionId"])
    assert ["layers"] == row["updates"]
    assert row["layers"][0].endswith(f":layer:{shop.name}-common:(new)")


def test_changes_by_hand(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan keeps the handler of a vendor's wrapper, and names what was changed by hand; a version and `$LATEST` are otherwise alike."""
    shop.run("--create", "--role", ROLE, "--alias", "live")
    shop.run("--dry-run", "--json")
    (untouched,) = json.loads(capsys.readouterr().out.partition("\n")[2])["functions"]
    shop.lambda_.update_function_configuration(
        FunctionName=shop.function,
        Handler="datadog_lambda.handler.handler",
        Environment={"Variables": {"DD_LAMBDA_HANDLER": "service.handlers.hello.lambda_handler", "KEY": "secret"}},
        MemorySize=256,
        Timeout=7,
    )
    capsys.readouterr()
    code = shop.run()
    err = capsys.readouterr().err
    pointed = shop.pointed()

    assert ([], []) == (untouched["drift"], untouched["notes"])
    assert 0 == code
    assert (
        "  keeps the handler `datadog_lambda.handler.handler` of Datadog, which wraps the function's own"
        in err.splitlines()
    )
    assert (
        "environment variable `DD_LAMBDA_HANDLER` (added), environment variable `KEY` (added), memory (changed), timeout (changed)"
    ) in err
    assert "secret" not in err
    assert ("datadog_lambda.handler.handler", 256) == (pointed["Handler"], pointed["MemorySize"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('alias = "lamina-deploying"', f"alias: {OWN_ALIAS}: use another name"),
        ("wait-seconds = 0", "wait-seconds: 0 seconds is out of range; use 1 to 86,400 seconds"),
        ('wrapper = "a b"', "wrapper: `a b` contains a space, which Lambda does not allow in a handler"),
    ],
)
def test_wrong_settings(shop: Shop, capsys: pytest.CaptureFixture[str], line: str, message: str) -> None:
    """Mistakes in the deployment's configuration are reported before any request to AWS."""
    with (shop.service.root / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")

    assert 2 == shop.run()
    assert f"tool.lamina.deploy.{message}" in capsys.readouterr().err


def test_configured_wrapper(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """A build proves the function's own handler, and a deployment sets the wrapper: that of the function before that of all functions."""
    pyproject = shop.service.root / "pyproject.toml"
    settings = '\nwrapper = "acme.wrap"\nwait-seconds = 60\n'
    pyproject.write_text(pyproject.read_text() + settings)
    codes = [shop.run("--create", "--role", ROLE)]
    handlers = [shop.latest()["Handler"]]
    codes.append(shop.run("--check"))
    shop.service.more["hello"] = 'wrapper = ""'
    shop.write()
    pyproject.write_text(pyproject.read_text() + settings)
    codes.append(shop.run())
    handlers.append(shop.latest()["Handler"])

    assert ([0, 0, 0], ["acme.wrap", "service.handlers.hello.lambda_handler"]) == (codes, handlers)
    assert "sets the handler `acme.wrap`, which wraps the function's own" in capsys.readouterr().err


@knows_storage_mode
def test_layers_by_reference(shop: Shop, ministack: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """With storage by reference, a bucket that does not qualify stops the deployment; a suitable one provides the layer."""
    name = ministack.make_bucket(shop.name)
    shop.write(publishing=f'bucket = "{name}"\nstorage = "reference"\n')
    codes = [shop.run("--create", "--role", ROLE)]
    err = capsys.readouterr().err

    assert [6] == codes
    assert (
        f"Lambda cannot read layers from bucket `{name}`: versioning is not enabled; "
        "the bucket policy does not allow Lambda to call" in err
    )
    assert [] == ministack.versions(f"{shop.name}-common")

    s3 = ministack.client("s3")
    account = Account(id="000000000000", partition="aws", region=ministack.region)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_policy(Bucket=name, Policy=ready_policy(bucket=name, prefix="lamina/", account=account))
    codes = [shop.run("--create", "--role", ROLE), shop.run("--check")]

    assert [0, 0] == codes
    assert [f"{shop.name}-common:1"] == [arn.partition(":layer:")[2] for arn in shop.layers()]
    assert any(key.startswith("lamina/layers/") for key in ministack.keys(name))


def test_no_function(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Without `--create`, a missing function is an error and no layer is published."""
    code = shop.run()
    err = capsys.readouterr().err

    assert 6 == code
    assert f"error: function not found in Lambda: `{shop.function}`" in err.splitlines()
    assert [] == shop.lambda_.list_layer_versions(LayerName=f"{shop.name}-common")["LayerVersions"]


def test_migration(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """`--migrate` prints Markdown with the sizes, and changes nothing."""
    shop.run("--create", "--role", ROLE)
    shop.lambda_.update_function_configuration(FunctionName=shop.function, Layers=[])
    shop.write(HANDLER + "# slim\n")
    capsys.readouterr()
    code = shop.run("--migrate")
    out = capsys.readouterr().out

    assert 0 == code
    assert f"- {shop.function}: update layers, then code\n" in out
    assert "one deployment with the new code and the layers is enough" in out
    assert [] == shop.layers()


def test_migration_before_there_are_functions(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """`--migrate` also plans functions that do not exist yet, and supports `--json`."""
    codes = [shop.run("--migrate")]
    out = capsys.readouterr().out
    codes.append(shop.run("--migrate", "--json"))
    (row,) = json.loads(capsys.readouterr().out)["functions"]

    assert [0, 0] == codes
    assert "Nothing to migrate: every function already has this code and these layers, or does not exist yet.\n" == out
    assert ("create", True) == (row["action"], row["change"])
    assert [] == shop.lambda_.list_layer_versions(LayerName=f"{shop.name}-common")["LayerVersions"]


def test_names_that_lambda_refuses(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid function name or placeholder is reported before any request to AWS."""
    shop.name = "x" * 60
    shop.write()
    codes = [shop.run("--dry-run", "--region", "eu-nowhere-1")]
    shop.name = "x}"
    shop.write()
    codes.append(shop.run("--dry-run"))
    err = capsys.readouterr().err.splitlines()

    assert [6, 2] == codes
    assert f"error: Lambda does not accept `{'x' * 60}-hello` as a function name" in err
    assert (
        "  tool.lamina.deploy.function-name: `x}-{function}` has a brace that is not part of a placeholder; "
        "use `{function}`, `{service}`" in err
    )


@pytest.mark.parametrize("command", ["deploy", "publish"])
@pytest.mark.parametrize("mistake", [["--region", "europe"], ["--check"]], ids=["region", "usage"])
def test_no_old_files_after_an_error(shop: Shop, tmp_path: Path, command: str, mistake: list[str]) -> None:
    """A run that fails before it changes anything leaves no report and no ARNs of an earlier run."""
    report, arns = tmp_path / "report.json", tmp_path / "layers.env"
    report.write_text("{}")
    arns.write_text("LAMINA_LAYER_COMMON=arn:…:7\n")
    words = [command, "--project", str(shop.service.root), *mistake, "--output", str(report), "--env-file", str(arns)]

    assert 2 == main(words)
    assert not report.exists()
    assert not arns.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--create"], "`--create` and `--role` must be used together"),
        (["--create", "--role", "admin"], "`admin` is not the ARN of an IAM role"),
        (["--region", "europe", "--region", ""], "`europe` and `` are not valid region names"),
        (["--alias", "7"], "`7` is not a valid alias name"),
        (["--alias", "lamina-deploying"], OWN_ALIAS),
        (
            ["--function", "helo", "--function", "x"],
            "the service has no function `helo` (did you mean `hello`?) and no function `x`",
        ),
    ],
)
def test_usage(shop: Shop, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    """Invalid arguments are reported before any request to AWS."""
    code = shop.run(*words)

    assert 2 == code
    assert f"error: {message}" in capsys.readouterr().err.splitlines()
