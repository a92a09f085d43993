"""Tests that constructs report errors as annotations of the stack with lamina's messages, and never raise them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from aws_cdk import Annotations, CfnParameter
from aws_cdk.assertions import Annotations as Assertions
from aws_cdk.assertions import Match, Template
from aws_cdk.aws_lambda import (
    Alias,
    Architecture,
    Code,
    Function,
    ILayerVersion,
    LambdaInsightsVersion,
    LayerVersion,
    Runtime,
)

from cdk.apps import UNSELECTED, app_of, nameless, synthesize, synthesized
from lamina.cdk import PythonFunction, PythonLayerVersion, live_alias, lookup
from lamina.cdk.assets import not_built
from lamina.cdk.builds import SHARED
from loopback import IndexServer
from services import make_service
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aws_cdk import Stack

    from services import Service


def test_missing_lock(service: Service) -> None:
    """A missing lock file is one error with its hint, however many constructs need the lock file."""
    project = service.write()
    (project / "pylock.toml").unlink()

    [error] = synthesized(*app_of(project)).errors

    fact, _, hint = error.partition("\n")
    assert f"no lock file found in `{project}`" in fact
    assert hint.startswith(f"hint: create one: run `(cd {project} && uv lock")


def test_missing_configuration(tmp_path: Path) -> None:
    """A directory without configuration is an error of the stack, and the function still exists in the stack."""
    result = synthesize(lambda stack: PythonFunction(stack, "Hello", entry=tmp_path, function="hello"))

    fact = f"no `pyproject.toml` or `lamina.toml` found in `{tmp_path}` or its parent directories"
    hint = "pass the service's directory with `entry`, or run `lamina init` there"
    assert (f"{fact}\nhint: {hint}",) == result.errors


def test_closure_over_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A function over Lambda's size limit is one error with the command line's message, and no wheel is downloaded completely."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    with IndexServer(tmp_path / "wheels") as server:
        service = make_service(tmp_path, base_url=f"{server.url}/files")
        files: dict[str, bytes | str] = {f"huge/{number}.bin": bytes(27_000_000) for number in range(10)}
        service.locked["huge"] = make_wheel(service.wheels, "huge", "1.0", files, stored=files)
        project = service.write()
        runs = SHARED.runs

        results = [synthesized(*app_of(project, "hello")) for _ in range(3)]

    assert 1 == SHARED.runs - runs
    message = (
        "`hello`: 270,014,129 bytes unzipped, 7,870,129 over Lambda's limit of 262,144,000 bytes "
        "(code 0 + layer `common` 270,014,129); largest distributions: `huge` 270,001,028, `alpha` 12,708, `beta` 393"
    )
    assert [(message,)] * 3 == [result.errors for result in results]
    assert all(request.range for request in server.requests_for(service.locked["huge"].name))
    assert "" == capfd.readouterr().err


def test_wrong_architecture(service: Service) -> None:
    """The error for an unsupported runtime or architecture names both the built target and the requested one."""
    service.add("native", "1.0", tag="cp313-cp313-manylinux_2_17_x86_64")
    project = service.write()

    def make(stack: Stack) -> None:
        PythonLayerVersion(stack, "Layer", entry=project, compatible_architectures=[Architecture.ARM_64])
        PythonLayerVersion(stack, "Older", entry=project, compatible_runtimes=[Runtime.PYTHON_3_12])
        PythonFunction(stack, "Function", entry=project, function="hello", architecture=Architecture.ARM_64)

    facts, hints = zip(*(error.split("\nhint: ") for error in synthesize(make).errors), strict=True)
    assert (
        "layer `common` supports python3.13 on x86_64, but the construct requests `arm64`",
        "layer `common` supports python3.13 on x86_64, but the construct requests `python3.12`",
        "function `hello` is configured for python3.13 on x86_64, but the construct requests `arm64`",
    ) == facts
    assert "omit `runtime` and `architecture` from the construct, or change the target in `[tool.lamina]`" == hints[-1]


def test_six_configured_layers(service: Service) -> None:
    """Too many configured layers are a finding of the build, as on the command line."""
    names = [f"l{number}" for number in range(6)]
    service.functions = {}
    project = service.write()
    with (project / "pyproject.toml").open("a") as file:
        file.write(
            f'[tool.lamina.functions.wide]\nhandler = "service.handlers.hello.lambda_handler"\nlayers = {names}\n'
        )
        file.writelines(f"[tool.lamina.layers.{name}]\n" for name in names)

    result = synthesized(*app_of(project, "wide"))

    quoted = ", ".join(f"`{name}`" for name in names)
    assert f"`wide` has 6 layers, but Lambda allows at most 5: {quoted}" in result.errors


def test_six_given_layers(service: Service) -> None:
    """The number and runtimes of passed layers are checked before CDK raises, including layers that options add."""
    project = service.write()

    def make(stack: Stack) -> None:
        others = [LayerVersion(stack, f"L{number}", code=not_built()) for number in range(4)]
        old = LayerVersion(stack, "Old", code=not_built(), compatible_runtimes=[Runtime.PYTHON_3_9])
        PythonFunction(
            stack,
            "Function",
            entry=project,
            function="hello",
            layers=[PythonLayerVersion.for_stack(stack, entry=project), *others, old],
            insights_version=LambdaInsightsVersion.from_insight_version_arn(
                "arn:aws:lambda:eu-west-1:1:layer:insights:1"
            ),
        )

    named = "`Lamina-greeter-common`, `L0`, `L1`, `L2`, `L3`, `Old`, and 1 added by options such as `insights_version`"
    assert (
        f"function `hello` has 7 layers, but Lambda allows at most 5: {named}",
        "function `hello` is built for python3.13 on x86_64, but layer `Old` supports only python3.9",
    ) == synthesize(make).errors[:2]


def test_given_layer_of_another_target(service: Service) -> None:
    """Passing a layer for another architecture is an error that names both targets."""
    del service.settings["runtime"], service.settings["architecture"]
    service.settings["targets"] = '["python3.13-arm64", "python3.13-x86_64"]'
    service.add("native", "1.0", tag="cp313-cp313-manylinux_2_17_x86_64.manylinux_2_17_aarch64")
    project = service.write()

    def make(stack: Stack) -> None:
        layer = PythonLayerVersion(stack, "Arm", entry=project, compatible_architectures=[Architecture.ARM_64])
        PythonFunction(
            stack, "Function", entry=project, function="hello", architecture=Architecture.X86_64, layers=[layer]
        )

    assert (
        "function `hello` is built for python3.13 on x86_64, but layer `Arm` supports only python3.13 on arm64",
    ) == synthesize(make).errors


def test_nothing_else_is_raised_for_what_is_wrong(service: Service, tmp_path: Path) -> None:
    """If a project has errors, CDK does not raise for functions of lamina or CDK that use its layers."""
    project, nowhere = service.write(), tmp_path / "nowhere"
    nowhere.mkdir()

    def make(entry: Path, name: str = "hello") -> Callable[[Stack], None]:
        def fill(stack: Stack) -> None:
            older = PythonLayerVersion(stack, "Older", entry=entry, compatible_runtimes=[Runtime.PYTHON_3_12])
            newer = PythonLayerVersion(stack, "Newer", entry=entry, compatible_runtimes=[Runtime.PYTHON_3_13])
            other = LayerVersion(stack, "Other", code=not_built(), compatible_runtimes=[Runtime.PYTHON_3_13])
            PythonFunction(stack, "Function", entry=entry, function=name, layers=[newer, other, older])
            PythonFunction(stack, "Alone", entry=entry, function=name)
            for id_, runtime, layer in ("Plain", Runtime.PYTHON_3_13, newer), ("Old", Runtime.PYTHON_3_12, older):
                code = Code.from_inline("def lambda_handler(event, context): ...")
                Function(stack, id_, code=code, handler="index.lambda_handler", runtime=runtime, layers=[layer])

        return fill

    results = (
        synthesize(make(nowhere)),
        synthesize(make(project), context=UNSELECTED),
        synthesize(make(project, "helo")),
        synthesize(make(project)),
    )
    facts = [[error.partition("\n")[0] for error in result.errors] for result in results]

    unreadable = f"no `pyproject.toml` or `lamina.toml` found in `{nowhere}` or its parent directories"
    unbuilt = "layer `common` supports python3.13, but the construct requests `python3.12`"
    built = "layer `common` supports python3.13 on x86_64 and arm64, but the construct requests `python3.12`"
    unknown = "the service has no function `helo` (did you mean `hello`?)"
    assert [[unreadable], [unbuilt], [built, unknown, unknown], [built]] == facts


def test_two_services_of_one_name(service: Service, tmp_path: Path) -> None:
    """Two projects of the same name in one stack are an error, because their layers would have the same id."""
    first = service.write()
    second = shutil.copytree(first, tmp_path / "copy")

    def make(stack: Stack) -> None:
        for name, entry in (("A", first), ("B", second)):
            PythonFunction(stack, name, entry=entry, function="hello")

    hint = "hint: give each project its own `name` in `[project]`"
    assert (f"projects `{first}` and `{second}` in the same stack are both named `greeter`\n{hint}",) == synthesize(
        make
    ).errors
    for project in (first, second):
        (project / "pyproject.toml").write_text(nameless(project))
    assert (f"projects `{first}` and `{second}` in the same stack are both without a name\n{hint}",) == synthesize(
        make
    ).errors


def test_one_service_by_two_names(service: Service, tmp_path: Path) -> None:
    """A project that is used directly and through a symbolic link is one project with one layer."""
    link = tmp_path / "link"
    link.symlink_to(service.write(), target_is_directory=True)

    def make(stack: Stack) -> None:
        for name, entry in (("A", service.root), ("B", link)):
            PythonFunction(stack, name, entry=entry, function="hello")

    result = synthesize(make)

    assert ((), 1) == (result.errors, len(result.resources("LayerVersion")))


def test_texts_that_would_be_refused(service: Service) -> None:
    """Each argument that AWS would reject during the deployment is an error of the synthesis; unresolved tokens are accepted."""
    project = service.write()

    def make(stack: Stack) -> None:
        PythonLayerVersion(stack, "Long", entry=project, description="d" * 257, license="l" * 513)
        PythonLayerVersion(stack, "Name", entry=project, layer_version_name="orders common")
        PythonLayerVersion(stack, "Bucket", entry=project, bucket="team-{stage}")
        PythonLayerVersion(stack, "Periods", entry=project, bucket="team..layers")
        late = CfnParameter(stack, "Parameter").value_as_string
        PythonLayerVersion(stack, "Late", entry=project, bucket=late, description=late * 30, layer_version_name=late)

    assert (
        "`description` has 257 characters, but Lambda allows at most 256",
        "`license` has 513 characters, but Lambda allows at most 512",
        "`layer_version_name`: `orders common` is not a valid layer name: use letters, digits, `-` and `_`",
        "`bucket`: `team-{stage}` is not a valid bucket name: use 3 to 63 lower-case letters, digits, `.` and `-`, and the placeholders `{account}`, `{region}` and `{partition}`",
        "`bucket`: `team..layers` is not a valid bucket name: it contains two adjacent periods",
    ) == synthesize(make).errors


def test_unknown_names(service: Service) -> None:
    """The error for an unknown function or layer suggests a similar name and lists the available names."""
    project = service.write()

    def make(stack: Stack) -> None:
        PythonFunction(stack, "Function", entry=project, function="helo")
        layer = PythonLayerVersion(stack, "Layer", entry=project, layer="data")
        PythonFunction(stack, "Given", entry=project, function="hello", layers=[layer])

    result = synthesize(make)

    assert () == result.warnings
    assert (
        "the service has no function `helo` (did you mean `hello`?)\nhint: available functions: `hello`, `report`",
        "the service has no layer `data`\nhint: available layers: `common`",
    ) == result.errors


@pytest.mark.parametrize("kind", ["function", "layer"])
@pytest.mark.parametrize("name", [None, "data"])
def test_a_service_without_any(kind: str, name: str | None) -> None:
    """If there is nothing to choose from, the error says how to add it."""
    told = lookup._no_such(kind, name, ())

    assert f"the service has no {kind}s\nhint: add one to `[tool.lamina.{kind}s]`" == told


def test_one_of_several_layers_has_to_be_named(service: Service) -> None:
    """If the project has several layers and no default one, a construct must name its layer."""
    service.functions, service.settings["source"] = {}, "[]"
    project = service.write()
    with (project / "pyproject.toml").open("a") as file:
        file.write("[tool.lamina.layers.data]\n[tool.lamina.layers.web]\n")

    result = synthesize(lambda stack: PythonLayerVersion(stack, "Layer", entry=project))

    fact = "the service has 2 layers, but the construct does not name one"
    assert (f"{fact}\nhint: pass `layer=` with one of `data`, `web`",) == result.errors


def test_warnings_can_be_acknowledged(service: Service) -> None:
    """A warning of the build is a warning of the stack, and can be acknowledged under its rule's name."""
    service.add("gamma", "1.0", {"gamma.py": "", "gamma.pth": "import gamma\n"})
    project = service.write()
    app, stack = app_of(project, "hello")
    _, acknowledged = other = app_of(project, "hello")
    Annotations.of(acknowledged).acknowledge_warning("lamina:pth-ignored")

    [warning] = synthesized(app, stack).warnings

    assert warning.endswith(" [ack: lamina:pth-ignored]")
    assert () == synthesized(*other).warnings


def test_errors_can_be_asserted(service: Service) -> None:
    """A test of a team's app can find the errors with CDK's assertions, because synthesis does not raise them."""
    project = service.write()
    (project / "pylock.toml").unlink()
    _, stack = app_of(project, "hello")

    Template.from_stack(stack)

    assert 1 == len(Assertions.from_stack(stack).find_error("*", Match.string_like_regexp("no lock file found in")))


def test_the_only_function_needs_no_name(service: Service) -> None:
    """A construct can omit the function's name if there is only one; else the error lists all names."""
    project = service.write()

    several = synthesize(lambda stack: PythonFunction(stack, "Function", entry=project))

    fact = "the service has 2 functions, but the construct does not name one"
    assert (f"{fact}\nhint: pass `function=` with one of `hello`, `report`",) == several.errors
    del service.functions["report"]
    service.write()
    single = synthesize(lambda stack: PythonFunction(stack, "Function", entry=project))
    assert () == single.errors
    assert 1 == len(single.resources("Function"))


def test_arguments_of_other_python_functions(service: Service) -> None:
    """Each argument that the configuration replaces is an error with the key to set, and `bundling` is a warning."""
    project = service.write()
    arguments: dict[str, object] = {
        "index": "service/handlers/hello.py",
        "handler": "lambda_handler",
        "code": Code.from_asset(str(project)),
        "bundling": {"platform": "linux/amd64"},
    }

    def make(stack: Stack) -> None:
        PythonFunction(stack, "Function", entry=project, function="hello", **arguments)  # type: ignore[arg-type]  # tested

    result = synthesize(make)

    facts, hints = zip(*(error.split("\nhint: ") for error in result.errors), strict=True)
    assert (
        tuple(
            f"`PythonFunction` does not accept `{name}`, because the project's configuration contains it"
            for name in ("code", "handler", "index")
        )
        == facts
    )
    assert (
        "remove `code` from the construct, and set `source` in `[tool.lamina]`",
        "remove `handler` from the construct, and set `hello` in `[tool.lamina.functions]`",
        "remove `index` from the construct, and set `hello` in `[tool.lamina.functions]`",
    ) == hints
    assert ["lamina:bundling]"] == [warning.rpartition("[ack: ")[2] for warning in result.warnings]


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_two_aliases_of_one_name(service: Service, *, is_first: bool) -> None:
    """Another alias with the name of `live_alias` is an error of the synthesis; other names and functions are accepted."""
    project = service.write()

    def make(stack: Stack) -> None:
        functions = [PythonFunction(stack, name, entry=project, function=name) for name in ("hello", "report")]
        if is_first:
            live_alias(functions[0])
        for number, (function, name) in enumerate(
            (function, name) for function in functions for name in ("live", "old")
        ):
            Alias(stack, f"Own{number}", alias_name=name, version=function.current_version)
        live_alias(functions[0])

    [error] = synthesize(make).errors
    fact, _, hint = error.partition("\nhint: ")
    assert "function `hello` has two aliases `live`: `Orders/Own0` and the one of `live_alias`" == fact
    assert 'pass its options to `function.add_alias("live", …)` before you call `live_alias`' in hint


def test_plain_function_with_a_layer_for_another_architecture(service: Service) -> None:
    """A native layer under a function for another architecture is an error, however the function got the layer."""
    service.add("native", "1.0", tag="cp313-cp313-manylinux_2_17_x86_64")
    project = service.write()

    def plain(stack: Stack, name: str, architecture: Architecture | None, layers: list[ILayerVersion]) -> Function:
        code = Code.from_inline("def lambda_handler(event, context): ...")
        runtime = Runtime.PYTHON_3_13
        return Function(
            stack, name, code=code, handler="index.f", runtime=runtime, architecture=architecture, layers=layers
        )

    def make(stack: Stack) -> None:
        layer = PythonLayerVersion(stack, "Common", entry=project)
        plain(stack, "Arm", Architecture.ARM_64, [layer])
        plain(stack, "Without", Architecture.ARM_64, [])
        plain(stack, "Later", Architecture.ARM_64, []).add_layers(layer)
        plain(stack, "Default", None, [layer])
        plain(stack, "Intel", Architecture.X86_64, [layer])

    assert {
        f"function `Orders/{name}` runs on arm64, but layer `Common` supports only python3.13 on x86_64\n"
        "hint: give the function the architecture x86_64, or change the target in `[tool.lamina]`"
        for name in ("Arm", "Later")
    } == set(synthesize(make).errors)


def test_plain_function_with_a_layer_for_both_architectures(service: Service) -> None:
    """A layer without native code fits a function of any architecture."""
    project = service.write()

    def make(stack: Stack) -> None:
        layer = PythonLayerVersion(stack, "Common", entry=project)
        code = Code.from_inline("def lambda_handler(event, context): ...")
        for architecture in (Architecture.ARM_64, Architecture.X86_64):
            Function(
                stack,
                architecture.name,
                code=code,
                handler="index.f",
                runtime=Runtime.PYTHON_3_13,
                architecture=architecture,
                layers=[layer],
            )

    assert () == synthesize(make).errors
