"""What lamina reads from the descriptions of the Serverless Framework."""

from __future__ import annotations

import copy
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.core.errors import TemplateError
from lamina.core.frozen import replace
from lamina.project.templates.files import TemplateFiles
from lamina.project.templates.serverless import reader
from lamina.project.templates.types import (
    LayerReference,
    Origin,
    Skipped,
    Template,
    TemplateFunction,
    TemplateLayer,
    Tool,
    Translation,
    UnknownSetting,
)

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = "provider: {name: aws, runtime: python3.13}\n"


def write(root: Path, files: dict[str, str]) -> TemplateFiles:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return TemplateFiles(root)


def read(root: Path, text: str, path: str = "serverless.yml", **files: str) -> Template:
    """Return the template of the service *text*, with more *files*: a double underscore in a name stands for a dot."""
    others = {name.replace("__", "."): content for name, content in files.items()}
    return reader.read(path, write(root, {path: text, **others}))


def one(root: Path, text: str, **files: str) -> TemplateFunction:
    """Return the only function of the service *text*."""
    template = read(root, text, **files)

    assert ((), 1) == (template.skipped, len(template.functions))

    return template.functions[0]


def handler(root: Path, written: str, more: str = "", **files: str) -> tuple[str | None, str | None]:
    """Return the value of the handler *written*, and why it is unknown."""
    function = one(root, f"{PYTHON}functions:\n  a:\n    handler: {written}\n{more}", **files)
    return function.handler, function.why_unknown("handler")


def test_a_service(tmp_path: Path) -> None:
    """Functions have the settings of the provider unless they set their own."""
    template = read(
        tmp_path,
        """\
service: orders
frameworkVersion: "3"
provider:
  name: aws
  runtime: python3.12
  architecture: arm64
  memorySize: 512
  timeout: 10
  layers:
    - arn:aws:lambda:eu-west-1:123456789012:layer:tracing:4
  environment:
    TABLE: orders
functions:
  create:
    handler: src/handlers/create.main
    environment: {QUEUE: !Ref Queue}
  report:
    handler: src.handlers.report.main
    runtime: python3.13
    architecture: x86_64
    memorySize: 1024
    timeout: "60"
    layers: []
resources:
  Resources:
    Queue: {Type: AWS::SQS::Queue}
""",
    )

    assert replace(template, deployed=()) == Template(
        tool=Tool.SERVERLESS,
        path="serverless.yml",
        functions=(
            TemplateFunction(
                name="create",
                origin=Origin(file="serverless.yml", line=14),
                handler="src/handlers/create.main",
                source=".",
                runtime="python3.12",
                architecture="arm64",
                memory_mb=512,
                timeout_seconds=10,
                environment=("QUEUE", "TABLE"),
                layers=(LayerReference(name="arn:aws:lambda:eu-west-1:123456789012:layer:tracing:4"),),
            ),
            TemplateFunction(
                name="report",
                origin=Origin(file="serverless.yml", line=17),
                handler="src.handlers.report.main",
                source=".",
                runtime="python3.13",
                architecture="x86_64",
                memory_mb=1024,
                timeout_seconds=60,
                environment=("TABLE",),
            ),
        ),
    )


def test_a_service_in_a_directory(tmp_path: Path) -> None:
    """The source is the service's directory, relative to the project, and files are relative to it, too."""
    template = read(
        tmp_path,
        PYTHON + "functions: ${file(functions.yaml):all}\n",
        "services/orders/serverless.yaml",
        **{"services/orders/functions__yaml": "all:\n  create: {handler: app.main}\n"},
    )

    assert template.functions == (
        TemplateFunction(
            name="create",
            origin=Origin(file="services/orders/functions.yaml", line=2),
            handler="app.main",
            source="services/orders",
            runtime="python3.13",
        ),
    )


def test_json(tmp_path: Path) -> None:
    """A description in JSON has the same values, with lines."""
    text = json.dumps({"provider": {"runtime": "python3.13"}, "functions": {"a": {"handler": "app.main"}}}, indent=1)
    template = read(tmp_path, text, "serverless.json")

    assert template.functions == (
        TemplateFunction(
            name="a",
            origin=Origin(file="serverless.json", line=6),
            handler="app.main",
            source=".",
            runtime="python3.13",
        ),
    )


def test_functions_as_a_list(tmp_path: Path) -> None:
    """Functions can be a list of mappings and of files; a later function replaces an earlier one with the same name."""
    template = read(
        tmp_path,
        PYTHON
        + """\
functions:
  - first: {handler: a.main}
    second: {handler: b.main}
  - ${file(./more.yml)}
  - ${file(./missing.yml)}
  - 3
""",
        more__yml="third: {handler: c.main}\nsecond:\n  handler: d.main\n",
    )

    assert [(each.name, each.handler, str(each.origin)) for each in template.functions] == [
        ("first", "a.main", "serverless.yml:3"),
        ("second", "d.main", "more.yml:2"),
        ("third", "c.main", "more.yml:1"),
    ]
    assert template.skipped == (
        Skipped(
            name="functions", reason="`./missing.yml` does not exist", origin=Origin(file="serverless.yml", line=2)
        ),
        Skipped(
            name="functions",
            reason="expected a mapping, found a number",
            origin=Origin(file="serverless.yml", line=2),
        ),
    )


def test_skipped_functions(tmp_path: Path) -> None:
    """Functions that lamina cannot build are reported, each with its reason."""
    template = read(
        tmp_path,
        """\
provider: aws
functions:
  default: {handler: index.handler}
  node: {handler: index.handler, runtime: nodejs22.x}
  image: {image: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1", runtime: python3.13}
  zip: {handler: app.main, runtime: python3.13, package: {artifact: build/app.zip}}
  nothing: {runtime: python3.13}
  empty:
  number: {handler: app.main, runtime: 3.13}
  program: "${file(function.js)}"
""",
    )

    assert template.functions == ()
    assert [(each.name, each.reason, each.origin.line) for each in template.skipped] == [
        ("default", "no runtime is set, and the Serverless Framework's default is Node.js", 3),
        ("node", "runtime nodejs22.x is not Python", 4),
        ("image", "code is a container image", 5),
        ("zip", "code is a prebuilt package `build/app.zip`", 6),
        ("nothing", "the function has no handler", 7),
        ("empty", "expected a mapping, found nothing", 8),
        ("number", "runtime a number is not Python", 9),
        ("program", "`function.js` is a program, which lamina does not run", 10),
    ]


def test_a_prebuilt_service(tmp_path: Path) -> None:
    """With an artifact for the service, no function is built."""
    template = read(tmp_path, PYTHON + "package: {artifact: app.zip}\nfunctions: {a: {handler: app.main}}\n")

    assert template.skipped == (
        Skipped(name="a", reason="code is a prebuilt package `app.zip`", origin=Origin(file="serverless.yml", line=3)),
    )


def test_another_provider(tmp_path: Path) -> None:
    """Functions of other providers are not read."""
    template = read(tmp_path, "provider: {name: google, runtime: python39}\nfunctions: {a: {handler: main}}\n")

    assert replace(template, deployed=()) == Template(
        tool=Tool.SERVERLESS,
        path="serverless.yml",
        skipped=(
            Skipped(
                name="provider",
                reason="provider `google` is not AWS",
                origin=Origin(file="serverless.yml", line=1),
            ),
        ),
    )


def test_modules(tmp_path: Path) -> None:
    """In individual packages, `module` is the source, and patterns become relative to it."""
    template = read(
        tmp_path,
        PYTHON
        + """\
package:
  individually: true
  patterns: ["!**", "create/**", "!create/tests/**", "report/**"]
functions:
  create: {handler: index.main, module: create}
  report: {handler: index.main, module: ./report/, package: {patterns: ["!**/*.md"]}}
  other: {handler: app.main}
  missing: {handler: app.main, module: missing}
  outside: {handler: app.main, module: ../..}
""",
        **{"create/index__py": "", "report/index__py": ""},
    )

    assert [(each.name, each.source, each.patterns, each.unknown) for each in template.functions] == [
        ("create", "create", ("**", "!tests/**"), ()),
        ("report", "report", ("**", "!**/*.md"), ()),
        ("other", ".", ("create/**", "!create/tests/**", "report/**"), ()),
        (
            "missing",
            None,
            ("create/**", "!create/tests/**", "report/**"),
            (UnknownSetting(setting="source", reason="`missing` is not a directory"),),
        ),
        (
            "outside",
            None,
            ("create/**", "!create/tests/**", "report/**"),
            (UnknownSetting(setting="source", reason="`../..` is outside the project"),),
        ),
    ]


def test_a_module_of_a_shared_package(tmp_path: Path) -> None:
    """If functions share a package, `module` has no effect."""
    function = one(tmp_path, PYTHON + "functions: {a: {handler: create/index.main, module: create}}\n")

    assert ("create/index.main", ".") == (function.handler, function.source)


def test_patterns(tmp_path: Path) -> None:
    """Excluded files come first, then included ones; a function's own settings apply only to an individual package."""
    package = "package:\n  exclude: [./tests/**, '!tests/data/**']\n  include: [a.txt]\n  patterns: ['!*.md']\n"
    functions = (
        "functions:\n"
        "  own: {handler: app.main, package: {individually: true, exclude: [b/**], patterns: [c/**]}}\n"
        "  shared: {handler: app.main, package: {exclude: [b/**]}}\n"
        "  unknown: {handler: app.main, package: {individually: true, patterns: ['${env:FILES}']}}\n"
    )
    template = read(tmp_path, PYTHON + package + functions)

    assert [each.patterns for each in template.functions] == [
        ("**", "!tests/**", "tests/data/**", "!b/**", "a.txt", "!*.md", "c/**"),
        ("**", "!tests/**", "tests/data/**", "a.txt", "!*.md"),
        (),
    ]
    assert template.functions[2].why_unknown("patterns") == "environment variable `FILES` has no default"


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        ("{exclude: ['**/*'], include: [handler.py]}", ("handler.py",)),
        ("{patterns: ['!./**', './src/**', '!src/tests/**']}", ("src/**", "!src/tests/**")),
        ("{patterns: ['!**']}", ("!**",)),
        ("{patterns: []}", ()),
        ("{patterns: null, individually: false}", ()),
        ("{include: src/a.py}", ("**", "src/a.py")),
    ],
)
def test_chosen_files(tmp_path: Path, package: str, expected: tuple[str, ...]) -> None:
    """If a pattern leaves out all files, only those after it count."""
    function = one(tmp_path, f"{PYTHON}package: {package}\nfunctions: {{a: {{handler: app.main}}}}\n")

    assert expected == function.patterns


def test_layers(tmp_path: Path) -> None:
    """A layer of the service is named by its key, however a function refers to it; other references are unknown."""
    template = read(
        tmp_path,
        PYTHON
        + """\
layers:
  common-libs_2: {path: layers/common}
  prebuilt: {package: {artifact: dist/layer.zip}}
  remote: {package: {artifact: "s3://bucket/layer.zip"}}
  outside: {path: ../shared}
functions:
  a:
    handler: app.main
    layers:
      - Ref: CommonDashlibsUnderscore2LambdaLayer
      - !Ref PrebuiltLambdaLayer
      - ${self:custom.layer}
  b: {handler: app.main, layers: [!Ref Other]}
  c: {handler: app.main, layers: [{"Fn::ImportValue": x}]}
  d: {handler: app.main, layers: ["${cf:stack.LayerArn}"]}
  e: {handler: app.main, layers: common}
  f: {handler: app.main, layers: [1]}
custom:
  layer: arn:aws:lambda:${aws:region, 'x'}:123456789012:layer:x:1
""",
    )

    assert template.layers == (
        TemplateLayer(name="common-libs_2", origin=Origin(file="serverless.yml", line=3), source="layers/common"),
        TemplateLayer(name="prebuilt", origin=Origin(file="serverless.yml", line=4), source="dist/layer.zip"),
        TemplateLayer(name="remote", origin=Origin(file="serverless.yml", line=5)),
        TemplateLayer(name="outside", origin=Origin(file="serverless.yml", line=6)),
    )
    assert [(each.name, each.reason) for each in template.skipped] == [
        ("remote", "`s3://bucket/layer.zip` is not a file in the project"),
        ("outside", "`../shared` is not a file in the project"),
    ]
    assert template.functions[0].layers == (
        LayerReference(name="common-libs_2"),
        LayerReference(name="prebuilt"),
        LayerReference(name="arn:aws:lambda:*:123456789012:layer:x:1"),
    )
    assert [each.why_unknown("layers") for each in template.functions] == [
        None,
        "`layers` has no layer with the logical ID `Other`",
        "CloudFormation evaluates `Fn::ImportValue`",
        "the deployment decides `cf:stack.LayerArn`",
        "`common` is not the ARN of a layer",
        "expected the ARN of a layer, found a number",
    ]


def test_unknown_settings(tmp_path: Path) -> None:
    """Settings that only the deployment decides are unknown, each with its reason."""
    function = one(
        tmp_path,
        """\
provider:
  name: aws
  runtime: ${env:RUNTIME}
  architecture: sparc
  memorySize: ${ssm:/memory}
  timeout: [1]
  environment: ${file(./env.js)}
  layers: ${cf:stack.Layers}
package: ${file(package.js)}
functions:
  a:
    handler: ${opt:handler}
    module: x
    environment: {TABLE: "${ssm:/secret}"}
""",
    )

    assert function == TemplateFunction(
        name="a",
        origin=Origin(file="serverless.yml", line=11),
        environment=("TABLE",),
        unknown=(
            UnknownSetting(setting="runtime", reason="environment variable `RUNTIME` has no default"),
            UnknownSetting(setting="handler", reason="option `--handler` has no default"),
            UnknownSetting(setting="source", reason="`package.js` is a program, which lamina does not run"),
            UnknownSetting(setting="patterns", reason="`package.js` is a program, which lamina does not run"),
            UnknownSetting(setting="architecture", reason="`sparc` is not an architecture of Lambda"),
            UnknownSetting(setting="memory", reason="the deployment decides `ssm:/memory`"),
            UnknownSetting(setting="timeout", reason="expected a whole number from 0 to 1,000,000, found a list"),
            UnknownSetting(setting="environment", reason="`./env.js` is a program, which lamina does not run"),
            UnknownSetting(setting="layers", reason="the deployment decides `cf:stack.Layers`"),
        ),
    )


MORE = """\
params:
  default: {shared: p.default, own: p.default}
  dev: {own: p.dev}
stages:
  default: {params: {v4: p.v4}}
custom:
  text: app.main
  number: 3
  flag: true
  list: [x, {name: y.main}]
  handlers: {dev: dev.main, prod: prod.main}
  stage: ${opt:stage, self:provider.stage}
  nothing: null
  a: ${self:custom.b}
  b: x${self:custom.a}
  file: ${file(./values.yml)}
"""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("${self:custom.text}", "app.main"),
        ("src/${self:custom.text}", "src/app.main"),
        ("a${self:custom.number}.${self:custom.flag}", "a3.true"),
        ("${self:custom.list.1.name}", "y.main"),
        ("${self:custom.handlers.${opt:stage, 'prod'}}", "prod.main"),
        ("${self:custom.handlers.${opt:stage}}", "dev.main"),
        ("${self:custom.handlers.${sls:stage}}", "dev.main"),
        ("${self:custom.handlers.${self:custom.stage}}", "dev.main"),
        ("${self:custom.missing, 'x.main'}", "x.main"),
        ('${self:custom.nothing, self:custom.missing, opt:y, "z.main"}', "z.main"),
        ("${opt:x, ${self:custom.text}}", "app.main"),
        ("${opt:x , self:custom.text }", "app.main"),
        ("a${opt:x, 12}.${opt:x, 1.5}${opt:x, true}", "a12.1.5true"),
        ("${env:HOME, 'home.main'}", "home.main"),
        ("${param:shared}", "p.default"),
        ("${param:own}", "p.dev"),
        ("${param:v4}", "p.v4"),
        ("${param:missing, 'x.main'}", "x.main"),
        ("${file(./values.yml):deep.main}", "values.main"),
        ("${file('values.json'):main}", "json.main"),
        ("${file(./values.${sls:stage}.yml):main, 'x.main'}", "x.main"),
        ("${self:custom.file.deep.main}", "values.main"),
        ("${self:custom.file.back}", "app.main"),
        ("\\${self:custom.text}", "${self:custom.text}"),
        ("\\\\${self:custom.text}", "\\app.main"),
        ("${AWS::Region}.main", "${AWS::Region}.main"),
        ("${Name}-${self:custom.text}", "${Name}-app.main"),
        ("${strToBool(TRUE)}x", "truex"),
        ("${opt:x, ''}app", "app"),
    ],
)
def test_variables(tmp_path: Path, written: str, expected: str) -> None:
    """Variables have the values that the files decide; a default applies where an option or a key is missing."""
    files = {
        "values__yml": "deep: {main: values.main}\nback: ${self:custom.text}\n",
        "values__json": '{"main": "json.main"}',
    }

    assert (expected, None) == handler(tmp_path, json.dumps(written), MORE, **files)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("${env:HOME}", "environment variable `HOME` has no default"),
        ("${env:A, env:B}", "environment variable `A` has no default"),
        ("${opt:x}", "option `--x` has no default"),
        ("${self:custom.missing}", "`custom.missing` has no value"),
        ("${param:missing}", "parameter `missing` has no value in the file"),
        ("x${ssm:/a/b, 'x'}", "the deployment decides `ssm:/a/b`"),
        ("${ssm(eu-west-1):/a}", "the deployment decides `ssm:/a`"),
        ("${cf.us-east-1:a.b}", "the deployment decides `cf.us-east-1:a.b`"),
        ("${git:sha1}", "the deployment decides `git:sha1`"),
        ("${sls:instanceId}", "the deployment decides `sls:instanceId`"),
        ("${self:custom.${env:A}}", "environment variable `A` has no default"),
        ("${self:custom.a}", "`${self:custom.b}` refers to itself"),
        ("${self:custom.list}", "expected a text, found a list"),
        ("x${self:custom.handlers}", "a variable in a text is a mapping"),
        ("${file(../outside.yml)}", "`../outside.yml` is outside the project"),
        ("${file(config.js):a}", "`config.js` is a program, which lamina does not run"),
        ("${file(config.txt)}", "`config.txt` is neither YAML nor JSON"),
        ("${file(missing.yml)}", "`missing.yml` does not exist"),
        ("${file(values.yml):x}", "`values.yml` has no `x`"),
        ("${file(broken.yml):x}", "`broken.yml`, line 1: not valid YAML: unknown tag `!X`"),
        ("${self:custom.text", "`${self:custom.text` is not valid: a `}` is missing"),
        ("${file(values.yml", "`${file(values.yml` is not valid: a `}` is missing"),
        ("${opt:x, dev}", "`${opt:x, dev}` is not valid: a value is expected at `dev}`; texts need quotes"),
        ("${opt:x, 'dev}", "`${opt:x, 'dev}` is not valid: a value is expected at `'dev}`; texts need quotes"),
        ("${strToBool(maybe)}", "`maybe` is not a boolean"),
    ],
)
def test_unknown_variables(tmp_path: Path, written: str, reason: str) -> None:
    """A variable that the files do not decide is unknown, with the reason."""
    files = {"values__yml": "deep: {}\n", "broken__yml": "x: !X 1"}

    assert (None, reason) == handler(tmp_path, json.dumps(written), MORE, **files)


def test_the_machine_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the machine does not change the answer."""
    monkeypatch.setenv("STAGE", "prod")

    assert ("dev.main", None) == handler(tmp_path, "\"${env:STAGE, 'dev'}.main\"")


def test_a_stage_with_a_reference_to_the_option(tmp_path: Path) -> None:
    """A provider's stage that is the option itself is `dev`."""
    text = "provider: {runtime: python3.13, stage: '${opt:stage}'}\nfunctions: {a: {handler: 'a_${sls:stage}.main'}}\n"

    assert one(tmp_path, text).handler == "a_dev.main"


def test_sections_in_other_files(tmp_path: Path) -> None:
    """A section, a function or an environment can be in another file."""
    function = one(
        tmp_path,
        """\
provider: ${file(provider.yml)}
custom: ${file(custom.json)}
functions:
  create: ${file(functions/create.yml):create}
""",
        **{
            "provider__yml": "name: aws\nruntime: ${self:custom.runtime}\nenvironment: ${file(env.json):dev}\n",
            "custom__json": '{"runtime": "python3.13"}',
            "env__json": '{"dev": {"B": 1, "A": 2}}',
            "functions/create__yml": "create:\n  handler: app.main\n",
        },
    )

    assert function == TemplateFunction(
        name="create",
        origin=Origin(file="serverless.yml", line=4),
        handler="app.main",
        source=".",
        runtime="python3.13",
        environment=("A", "B"),
    )


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can read all files")
def test_an_unreadable_file(tmp_path: Path) -> None:
    """A value in a file without permission to read is unknown."""
    files = write(
        tmp_path,
        {"serverless.yml": f"{PYTHON}functions: {{a: {{handler: '${{file(a.yml):x}}'}}}}\n", "a.yml": "x: 1\n"},
    )
    (tmp_path / "a.yml").chmod(0)
    template = reader.read("serverless.yml", files)

    assert template.functions[0].why_unknown("handler") == "could not read `a.yml`: Permission denied"


def test_the_files_are_recorded(tmp_path: Path) -> None:
    """The snapshot has the files that were read and those that are missing."""
    files = write(
        tmp_path,
        {"serverless.yml": PYTHON + "functions:\n  - ${file(a.yml)}\n  - ${file(b.yml)}\n", "a.yml": "{}\n"},
    )
    reader.read("serverless.yml", files)

    assert {each.path: each.kind for each in files.snapshot.observations} == {
        "serverless.yml": "file",
        "a.yml": "file",
        "b.yml": "absent",
    }


def translations(root: Path, text: str) -> list[tuple[str, tuple[tuple[str, object], ...]]]:
    template = read(root, PYTHON + text, "services/a/serverless.yml")

    assert template.skipped == ()

    return [(each.setting, each.configuration) for each in template.translations]


def test_translations(tmp_path: Path) -> None:
    """Each setting of serverless-python-requirements has a translation, with configuration where a key expresses it."""
    found = translations(
        tmp_path,
        """\
plugins: [serverless-offline, serverless-python-requirements]
custom:
  pythonRequirements:
    slim: true
    slimPatterns: ["**/tests/**", "*.pyi"]
    strip: false
    noDeploy: [boto3, botocore, s3transfer, pytest]
    zip: true
    dockerizePip: non-linux
    usePoetry: false
    fileName: requirements/prod.txt
    vendor: ./vendored
    poetryWithGroups: [lambda]
    poetryOnlyGroups: [main]
    cacheLocation: ${env:HOME}/cache
""",
    )

    assert found == [
        ("plugins: serverless-python-requirements", ()),
        ("custom.pythonRequirements.slim", ()),
        ("custom.pythonRequirements.slimPatterns", (("exclude", ("**/tests/**", "*.pyi")),)),
        ("custom.pythonRequirements.strip", ()),
        (
            "custom.pythonRequirements.noDeploy",
            (("layers.common.without", ("boto3", "botocore", "s3transfer", "pytest")),),
        ),
        ("custom.pythonRequirements.zip", ()),
        ("custom.pythonRequirements.dockerizePip", ()),
        ("custom.pythonRequirements.usePoetry", ()),
        ("custom.pythonRequirements.fileName", (("lock", "services/a/requirements/prod.txt"),)),
        ("custom.pythonRequirements.vendor", (("source", ("services/a/vendored/*",)),)),
        ("custom.pythonRequirements.poetryWithGroups", (("groups", ("lambda",)),)),
        ("custom.pythonRequirements.poetryOnlyGroups", ()),
        ("custom.pythonRequirements.cacheLocation", ()),
    ]


def test_a_translation(tmp_path: Path) -> None:
    """A translation has one sentence and the place of the setting."""
    template = read(tmp_path, PYTHON + "custom:\n  pythonRequirements:\n    zip: true\n")

    assert template.translations == (
        Translation(
            setting="custom.pythonRequirements.zip",
            replacement="not needed: lamina builds a layer; remove `import unzip_requirements` from the handlers",
            origin=Origin(file="serverless.yml", line=4),
        ),
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("{slimPatterns: [a]}", ()),
        ("{slimPatterns: [a], slim: '${opt:slim, true}'}", (("exclude", ("a",)),)),
        ("{noDeploy: [pytest]}", (("layers.common.without", ("pytest",)),)),
        ("{noDeploy: [boto3]}", (("layers.common.without", ("boto3",)),)),
        ("{noDeploy: [s3transfer]}", (("layers.common.without", ("s3transfer",)),)),
        ("{noDeploy: ['${env:A}']}", ()),
        ("{noDeploy: [1]}", ()),
        ("{noDeploy: 1}", ()),
        ("{vendor: ../../../other}", ()),
        ("{fileName: ''}", ()),
    ],
)
def test_translated_values(tmp_path: Path, settings: str, expected: tuple[tuple[str, object], ...]) -> None:
    """Only known values of the right type become configuration."""
    found = translations(tmp_path, f"custom: {{pythonRequirements: {settings}}}\n")

    assert expected == found[0][1]


@pytest.mark.parametrize("settings", ["false", "{enabled: false, zip: true}", "null", "{}"])
def test_disabled_requirements(tmp_path: Path, settings: str) -> None:
    """Settings that are disabled have no translation."""
    assert translations(tmp_path, f"custom: {{pythonRequirements: {settings}}}\n") == []


def test_unknown_requirements(tmp_path: Path) -> None:
    """Settings in a program, and settings that lamina does not know, are reported."""
    program = read(tmp_path, PYTHON + "custom: ${file(custom.js)}\n")
    other = read(tmp_path, PYTHON + "custom: {pythonRequirements: {other: 1}}\n")

    assert [(each.name, each.reason) for each in (*program.skipped, *other.skipped)] == [
        ("custom.pythonRequirements", "`custom.js` is a program, which lamina does not run"),
        ("custom.pythonRequirements.other", "lamina does not know this setting"),
    ]


def test_the_layer_of_requirements(tmp_path: Path) -> None:
    """The layer that the plugin creates is a layer of the service."""
    template = read(
        tmp_path,
        PYTHON
        + """\
functions: {a: {handler: app.main, layers: [{Ref: PythonRequirementsLambdaLayer}]}}
custom:
  pythonRequirements:
    layer: true
""",
    )

    assert template.layers == (TemplateLayer(name="pythonRequirements", origin=Origin(file="serverless.yml", line=5)),)
    assert template.functions[0].layers == (LayerReference(name="pythonRequirements"),)


def test_unknown_tag(tmp_path: Path) -> None:
    """A tag of neither YAML nor CloudFormation is an error with its line."""
    with pytest.raises(TemplateError) as caught:
        read(tmp_path, "provider: aws\nresources: !Other x\n")

    assert str(caught.value) == "`serverless.yml`, line 2: not valid YAML: unknown tag `!Other`"


@pytest.mark.parametrize(("text", "found"), [("", "nothing"), ("[]", "a list"), ("a", "a text"), ("3", "a number")])
def test_not_a_mapping(tmp_path: Path, text: str, found: str) -> None:
    """A description that is not a mapping is an error."""
    with pytest.raises(TemplateError) as caught:
        read(tmp_path, text)

    assert str(caught.value) == f"`serverless.yml`: expected a mapping, found {found}"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            "".join(f"  a{number}: ${{self:custom.a{number + 1}}}{{self:custom.x}}\n" for number in range(60)),
            "variables refer to each other more than 40 levels deep",
        ),
        (
            "".join(f"  a{number}: {f'${{self:custom.a{number + 1}}}' * 2}\n" for number in range(30))
            + "  a30: 1234567\n",
            "the text with all variables replaced is too long",
        ),
        ("  a0: " + "x" * 1_000_001, "the text is longer than 1,000,000 characters"),
        (f"  a0: '{'${self:' * 50}'", "variables are nested too deeply"),
    ],
    ids=["deep", "doubling", "long", "nested"],
)
def test_hostile_variables(tmp_path: Path, more: str, reason: str) -> None:
    """Variables that would take long or need much memory are unknown."""
    found = handler(tmp_path, "${self:custom.a0}", f"custom:\n{more}\n")

    assert found[0] is None
    assert (found[1] or "").endswith(reason)


@pytest.mark.parametrize("functions", [1, 3])
def test_too_many_functions(tmp_path: Path, functions: int) -> None:
    """More than 10,000 functions are an error, also if they are aliases of a few."""
    names = "".join(f"  f{number}: {{handler: app.main}}\n" for number in range(10_001 // functions + 1))
    text = f"{PYTHON}all: &all\n{names}functions: [{', '.join(['*all'] * functions)}]\n"
    with pytest.raises(TemplateError) as caught:
        read(tmp_path, text)

    assert str(caught.value) == "`serverless.yml` has more than 10,000 functions"


def test_nested_aliases(tmp_path: Path) -> None:
    """Lists that refer to each other are not expanded."""
    lists = "".join(f"x{number}: &x{number} [*x{number - 1}, *x{number - 1}]\n" for number in range(1, 60))

    assert read(tmp_path, f"{PYTHON}x0: &x0 [a, a]\n{lists}functions: *x59\n").functions == ()


VALID: dict[str, Any] = {
    "service": {"name": "orders"},
    "plugins": {"modules": ["serverless-python-requirements"]},
    "provider": {
        "name": "aws",
        "stage": "${opt:stage, 'dev'}",
        "runtime": "python3.13",
        "architecture": "arm64",
        "memorySize": "${self:custom.memory, 128}",
        "timeout": 3,
        "environment": {"A": "${param:a}"},
        "layers": ["arn:aws:lambda:eu-west-1:123456789012:layer:x:1"],
    },
    "params": {"default": {"a": "${self:custom.handlers.a}"}},
    "stages": {"dev": {"params": {"b": 1}}},
    "custom": {
        "memory": 256,
        "handlers": {"a": "app.${param:b}"},
        "pythonRequirements": {"slim": True, "slimPatterns": ["a"], "layer": {"name": "x"}, "noDeploy": ["boto3"]},
    },
    "package": {"individually": True, "patterns": ["!**", "a/**"], "exclude": ["b"]},
    "layers": {"own": {"path": "layer"}, "zip": {"package": {"artifact": "x.zip"}}},
    "functions": {
        "a": {"handler": "${param:a}", "module": "a", "layers": [{"Ref": "OwnLambdaLayer"}]},
        "b": {"handler": "app.main", "package": {"include": ["c"]}, "environment": {"B": "1"}},
        "c": {"image": "x"},
    },
}
HOSTILE: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        10**30,
        "",
        "\0",
        "\ud800",
        "x" * 5000,
        [],
        {},
        [[]],
        [None],
        {"": None},
        {"a": []},
    ),
    *("${self:}", "${", "${self:functions}", "${file(serverless.json)}", "${file(serverless.json):functions.a}"),
    *(
        "${opt:}",
        "${env:}",
        "${param:}",
        "${sls:}",
        "${file():}",
        "${file(\0.yml)}",
        "${file(\ud800.yml)}",
        "${file(/)}",
    ),
    *("${file(" + "x" * 5000 + ".yml)}", "${file(.yml)}", "${self:custom.pythonRequirements}", "../..", "/etc", "a/\0"),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in *value*."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


PLACES = places(VALID)


def mutated(place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    document = copy.deepcopy(VALID)
    container = document
    for key in place[:-1]:
        container = container[key]
    container[place[-1]] = value
    return document


def survives(root: Path, document: Any) -> None:
    try:
        template = read(root, json.dumps(document), "serverless.json")
    except TemplateError:
        return
    assert len(template.functions) <= 3


def test_the_valid_description(tmp_path: Path) -> None:
    """The description that the next tests damage has no errors."""
    (tmp_path / "a").mkdir()
    template = read(tmp_path, json.dumps(VALID), "serverless.json")

    assert [each.name for each in template.skipped] == ["c"]
    assert [each.unknown for each in template.functions] == [(), ()]


_PART = 1 if os.environ.get("LAMINA_EVERY_TYPE") == "1" else 12


def test_wrong_types(tmp_path: Path) -> None:
    """With wrong values at any place, the only error is a `TemplateError`."""
    for number, place in enumerate(PLACES):
        # Few of the values for each place, others for the next place, so that the test takes seconds.
        for value in HOSTILE[number % _PART :: _PART]:
            survives(tmp_path, mutated(place, value))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([each for each in HOSTILE if isinstance(each, str)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "Ref", "path", "x"]), inner),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), JSON)
def test_any_value(tmp_path: Path, place: tuple[Any, ...], value: Any) -> None:
    """With any JSON value at any place, the only error is a `TemplateError`."""
    survives(tmp_path, mutated(place, value))


PIECES = [
    "${",
    "}",
    "self:",
    "custom.a",
    "opt:",
    "stage",
    "file(",
    ")",
    "a.yml",
    ",",
    "'",
    '"',
    "\\",
    " ",
    ":",
    "1",
    "x",
]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_any_variable(tmp_path: Path, written: str) -> None:
    """Any sequence of the variables' characters is a value or unknown."""
    survives(tmp_path, mutated(("functions", "b", "handler"), written))


@pytest.mark.parametrize(
    "written", ["!!int ''", "!!float ''", "!!bool x", "!!int x", "!!null x", "!!map x", "!!seq ''"]
)
def test_values_with_the_wrong_tag(tmp_path: Path, written: str) -> None:
    """A value that does not fit YAML's own tag is no reason for another error."""
    template = read(tmp_path, f"{PYTHON}functions: {written}\ncustom: {written}\nlayers: {{a: {written}}}\n")

    assert template.functions == ()
