"""What is wrong comes out as lamina's own words, in the stack, and never as an exception of a construct."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from aws_cdk import Annotations, CfnParameter
from aws_cdk.assertions import Annotations as Assertions
from aws_cdk.assertions import Match, Template
from aws_cdk.aws_lambda import Architecture, Code, Function, LambdaInsightsVersion, LayerVersion, Runtime

from cdk.apps import UNSELECTED, app_of, nameless, synthesize, synthesized
from lamina.cdk import PythonFunction, PythonLayerVersion
from lamina.cdk.assets import not_built
from lamina.cdk.builds import SHARED
from loopback import IndexServer
from services import make_service
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from aws_cdk import Stack

    from services import Service


def test_missing_lock(service: Service) -> None:
    """A missing lock is one error, however many constructs need it, with its hint."""
    project = service.write()
    (project / "pylock.toml").unlink()

    [error] = synthesized(*app_of(project)).errors

    fact, _, hint = error.partition("\n")
    assert f"no lock file in `{project}`" in fact
    assert hint.startswith("hint: looked for `uv.lock`")


def test_missing_configuration(tmp_path: Path) -> None:
    """A directory without configuration is an error of the stack, and the function stands there undeployable."""
    result = synthesize(lambda stack: PythonFunction(stack, "Hello", entry=tmp_path, function="hello"))

    fact = f"No `pyproject.toml` with `[tool.lamina]` in `{tmp_path}` or above it"
    hint = "name the service's directory with `entry`, or write the table there: lamina init"
    assert (f"{fact}\nhint: {hint}",) == result.errors


def test_closure_over_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What could never be deployed is said as the command says it, once, and nothing of it is fetched."""
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
        "`hello`: 270,014,129 bytes unzipped are 7,870,129 over Lambda's 262,144,000 "
        "(code 0 + layer `common` 270,014,129); largest: `huge` 270,001,028, `alpha` 12,708, `beta` 393"
    )
    assert [(message,)] * 3 == [result.errors for result in results]
    assert all(request.range for request in server.requests_for(service.locked["huge"].name))
    assert "" == capfd.readouterr().err


def test_wrong_architecture(service: Service) -> None:
    """A layer and a function that are asked for another machine than they are built for say both sides."""
    service.add("native", "1.0", tag="cp313-cp313-manylinux_2_17_x86_64")
    project = service.write()

    def make(stack: Stack) -> None:
        PythonLayerVersion(stack, "Layer", entry=project, compatible_architectures=[Architecture.ARM_64])
        PythonLayerVersion(stack, "Older", entry=project, compatible_runtimes=[Runtime.PYTHON_3_12])
        PythonFunction(stack, "Function", entry=project, function="hello", architecture=Architecture.ARM_64)

    facts, hints = zip(*(error.split("\nhint: ") for error in synthesize(make).errors), strict=True)
    assert (
        "Layer `common` is for python3.13 on x86_64, and the construct was given `arm64`",
        "Layer `common` is for python3.13 on x86_64, and the construct was given `python3.12`",
        "Function `hello` is built for python3.13 on x86_64, and the construct was given `arm64`",
    ) == facts
    assert "leave `runtime` and `architecture` out, or change the target in `[tool.lamina]`" == hints[-1]


def test_six_configured_layers(service: Service) -> None:
    """More layers than Lambda takes are a finding of the build, as on the command line."""
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
    assert f"`wide` has 6 layers, and Lambda takes 5: {quoted}" in result.errors


def test_six_given_layers(service: Service) -> None:
    """Layers that are given, and those that options add, are counted before CDK counts them; so are runtimes compared."""
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

    named = "`Lamina-greeter-common`, `L0`, `L1`, `L2`, `L3`, `Old`, and 1 that its options add"
    assert (
        f"`hello` has 7 layers, and Lambda takes 5: {named}",
        "`hello` is for python3.13 on x86_64, and layer `Old` is for python3.9",
    ) == synthesize(make).errors


def test_given_layer_of_another_target(service: Service) -> None:
    """A function that is given the layer of another architecture says both, and comes out without it."""
    del service.settings["runtime"], service.settings["architecture"]
    service.settings["targets"] = '["python3.13-arm64", "python3.13-x86_64"]'
    service.add("native", "1.0", tag="cp313-cp313-manylinux_2_17_x86_64.manylinux_2_17_aarch64")
    project = service.write()

    def make(stack: Stack) -> None:
        layer = PythonLayerVersion(stack, "Arm", entry=project, compatible_architectures=[Architecture.ARM_64])
        PythonFunction(
            stack, "Function", entry=project, function="hello", architecture=Architecture.X86_64, layers=[layer]
        )

    assert ("`hello` is for python3.13 on x86_64, and layer `Arm` is for python3.13 on arm64",) == synthesize(
        make
    ).errors


def test_nothing_else_is_raised_for_what_is_wrong(service: Service, tmp_path: Path) -> None:
    """Functions, of lamina and of CDK, that are given a layer while something is wrong: CDK's own complaint does not take over."""
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

    unreadable = f"No `pyproject.toml` with `[tool.lamina]` in `{nowhere}` or above it"
    unbuilt = "Layer `common` is for python3.13, and the construct was given `python3.12`"
    built = "Layer `common` is for python3.13 on x86_64 and arm64, and the construct was given `python3.12`"
    unknown = "The service has no function `helo` (did you mean `hello`?)"
    assert [[unreadable], [unbuilt], [built, unknown, unknown], [built]] == facts


def test_two_services_of_one_name(service: Service, tmp_path: Path) -> None:
    """Two projects of one name cannot have layers of one id in a stack, and neither gets the other's unnoticed."""
    first = service.write()
    second = shutil.copytree(first, tmp_path / "copy")

    def make(stack: Stack) -> None:
        for name, entry in (("A", first), ("B", second)):
            PythonFunction(stack, name, entry=entry, function="hello")

    hint = "hint: give each a name of its own in `[project]`"
    assert (f"`{first}` and `{second}` are both called `greeter`, in one stack\n{hint}",) == synthesize(make).errors
    for project in (first, second):
        (project / "pyproject.toml").write_text(nameless(project))
    assert (f"`{first}` and `{second}` are both without a name, in one stack\n{hint}",) == synthesize(make).errors


def test_one_service_by_two_names(service: Service, tmp_path: Path) -> None:
    """A project that is named through a link, too, is the same one, and has one layer."""
    link = tmp_path / "link"
    link.symlink_to(service.write(), target_is_directory=True)

    def make(stack: Stack) -> None:
        for name, entry in (("A", service.root), ("B", link)):
            PythonFunction(stack, name, entry=entry, function="hello")

    result = synthesize(make)

    assert ((), 1) == (result.errors, len(result.resources("LayerVersion")))


def test_texts_that_would_be_refused(service: Service) -> None:
    """What CloudFormation would find out in the middle of a deployment is an error of the synth, each on its own; tokens are let pass."""
    project = service.write()

    def make(stack: Stack) -> None:
        PythonLayerVersion(stack, "Long", entry=project, description="d" * 257, license="l" * 513)
        PythonLayerVersion(stack, "Name", entry=project, layer_version_name="orders common")
        PythonLayerVersion(stack, "Bucket", entry=project, bucket="team-{stage}")
        late = CfnParameter(stack, "Parameter").value_as_string
        PythonLayerVersion(stack, "Late", entry=project, bucket=late, description=late * 30, layer_version_name=late)

    assert (
        "`description` has 257 characters, and Lambda takes 256",
        "`license` has 513 characters, and Lambda takes 512",
        "`layer_version_name`: `orders common` is no layer's name: letters, digits, `-` and `_`",
        "`bucket`: `team-{stage}` is no bucket's name, with `{account}`, `{region}` and `{partition}` replaced",
    ) == synthesize(make).errors


def test_unknown_names(service: Service) -> None:
    """A function or layer that the service does not have is named, with what it may have meant."""
    project = service.write()

    def make(stack: Stack) -> None:
        PythonFunction(stack, "Function", entry=project, function="helo")
        layer = PythonLayerVersion(stack, "Layer", entry=project, layer="data")
        PythonFunction(stack, "Given", entry=project, function="hello", layers=[layer])

    result = synthesize(make)

    assert () == result.warnings
    assert (
        "The service has no function `helo` (did you mean `hello`?)\nhint: it has: `hello`, `report`",
        "The service has no layer `data`\nhint: it has: `common`",
    ) == result.errors


def test_one_of_several_layers_has_to_be_named(service: Service) -> None:
    """With several layers and no default one, the one that a construct is has to be said."""
    service.functions, service.settings["source"] = {}, "[]"
    project = service.write()
    with (project / "pyproject.toml").open("a") as file:
        file.write("[tool.lamina.layers.data]\n[tool.lamina.layers.web]\n")

    result = synthesize(lambda stack: PythonLayerVersion(stack, "Layer", entry=project))

    fact = "The service has 2 layers, and the construct does not name one"
    assert (f"{fact}\nhint: `layer=`, one of `data`, `web`",) == result.errors


def test_warnings_can_be_acknowledged(service: Service) -> None:
    """What the build warns of is a warning of the stack under the rule's name, and can be acknowledged there."""
    service.add("gamma", "1.0", {"gamma.py": "", "gamma.pth": "import gamma\n"})
    project = service.write()
    app, stack = app_of(project, "hello")
    _, acknowledged = other = app_of(project, "hello")
    Annotations.of(acknowledged).acknowledge_warning("lamina:pth-ignored")

    [warning] = synthesized(app, stack).warnings

    assert warning.endswith(" [ack: lamina:pth-ignored]")
    assert () == synthesized(*other).warnings


def test_errors_can_be_asserted(service: Service) -> None:
    """A test of the team's own sees the errors with CDK's assertions, because synthesizing raises nothing."""
    project = service.write()
    (project / "pylock.toml").unlink()
    _, stack = app_of(project, "hello")

    Template.from_stack(stack)

    assert 1 == len(Assertions.from_stack(stack).find_error("*", Match.string_like_regexp("no lock file in")))
