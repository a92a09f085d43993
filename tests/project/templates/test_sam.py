"""SAM and CloudFormation templates are read without guessing, and hostile templates cause only a TemplateError."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.core.errors import TemplateError
from lamina.core.frozen import replace
from lamina.project.templates.cloudformation.reader import read
from lamina.project.templates.files import TemplateFiles
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

SAM = "Transform: AWS::Serverless-2016-10-31\n"


def grow(root: Path, files: dict[str, str]) -> TemplateFiles:
    """Write *files* below *root*; a path that ends with a slash is a directory."""
    for name, text in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return TemplateFiles(root)


def described(root: Path, text: str, files: dict[str, str] | None = None) -> Template:
    """Return what the template *text* says, beside the directory ``src`` and *files*."""
    return read("template.yaml", grow(root, {"src/": "", "template.yaml": text, **(files or {})}))


def only(template: Template) -> TemplateFunction:
    assert len(template.functions) == 1, template

    return template.functions[0]


def unknown(setting: str, reason: str) -> tuple[UnknownSetting, ...]:
    return (UnknownSetting(setting=setting, reason=reason),)


def properties(text: str) -> str:
    """Return a template with one function of known handler, runtime and code, and further properties."""
    lines = "\n".join(f"      {line}" for line in text.splitlines())
    return f"""{SAM}Resources:
  Create:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.handler
      Runtime: python3.13
      CodeUri: src
{lines}
"""


class TestSam:
    def test_globals(self, tmp_path: Path) -> None:
        """Globals are inherited: scalars are replaced, maps are merged, and lists follow the inherited list."""
        template = described(
            tmp_path,
            f"""{SAM}Globals:
  Function:
    Runtime: python3.13
    Architectures: [arm64]
    MemorySize: 256
    Timeout: 10
    CodeUri: src/
    Layers: [arn:aws:lambda:eu-west-1:123456789012:layer:first:1]
    Environment:
      Variables: {{TABLE: orders, STAGE: dev}}
Resources:
  Create:
    Type: AWS::Serverless::Function
    Properties:
      Handler: orders.create.handler
      MemorySize: "512"
      Layers: [!Ref Common]
      Environment:
        Variables: {{BUCKET: !Ref Bucket, TABLE: other}}
  Common:
    Type: AWS::Serverless::LayerVersion
    Properties: {{ContentUri: src}}
""",
        )

        assert replace(template, deployed=()) == Template(
            tool=Tool.SAM,
            path="template.yaml",
            functions=(
                TemplateFunction(
                    name="Create",
                    origin=Origin(file="template.yaml", line=13),
                    handler="orders.create.handler",
                    source="src",
                    runtime="python3.13",
                    architecture="arm64",
                    memory_mb=512,
                    timeout_seconds=10,
                    environment=("BUCKET", "STAGE", "TABLE"),
                    layers=(
                        LayerReference(name="arn:aws:lambda:eu-west-1:123456789012:layer:first:1"),
                        LayerReference(name="Common"),
                    ),
                ),
            ),
            layers=(TemplateLayer(name="Common", origin=Origin(file="template.yaml", line=21), source="src"),),
        )

    def test_ignored_globals(self, tmp_path: Path) -> None:
        """`IgnoreGlobals` leaves out inherited properties."""
        text = (
            properties("")
            .replace("Resources:", "Globals: {Function: {Timeout: 9, MemorySize: 512}}\nResources:")
            .replace("    Properties:", "    IgnoreGlobals: [Timeout]\n    Properties:")
        )

        function = only(described(tmp_path, text))

        assert (function.timeout_seconds, function.memory_mb) == (None, 512)

    def test_default_code(self, tmp_path: Path) -> None:
        """Without `CodeUri`, the code is the template's directory."""
        files = grow(tmp_path, {"infra/template.yml": properties("").replace("      CodeUri: src\n", "")})

        assert only(read("infra/template.yml", files)).source == "infra"

    def test_parent_directory(self, tmp_path: Path) -> None:
        """Code paths are relative to the template."""
        files = grow(tmp_path, {"src/": "", "infra/template.yml": properties("").replace("src", "../src")})

        assert only(read("infra/template.yml", files)).source == "src"

    @pytest.mark.parametrize(
        ("lines", "reason"),
        [
            ("Runtime: nodejs22.x", "runtime nodejs22.x is not Python"),
            ("PackageType: Image", "code is a container image"),
            ("ImageUri: 123.dkr.ecr.eu-west-1.amazonaws.com/a:1", "code is a container image"),
            ("InlineCode: pass", "code is inline in the template"),
            ("CodeUri: s3://bucket/key.zip", "code is not in the project: `s3://bucket/key.zip`"),
            ("CodeUri: {Bucket: a, Key: b}", "code is in S3"),
            ("CodeUri: build/app.zip", "code is an archive: `build/app.zip`"),
        ],
    )
    def test_skipped(self, tmp_path: Path, lines: str, reason: str) -> None:
        """Functions whose code lamina cannot build are skipped with the reason."""
        template = described(tmp_path, properties(lines))

        assert template.functions == ()
        assert template.skipped == (Skipped(name="Create", reason=reason, origin=Origin(file="template.yaml", line=3)),)

    def test_translations(self, tmp_path: Path) -> None:
        """Build settings are translated once, with their place."""
        template = described(
            tmp_path,
            f"""{SAM}Resources:
  A: &function
    Type: AWS::Serverless::Function
    Metadata: {{BuildMethod: python3.13}}
    Properties: {{Handler: a.b, Runtime: python3.13, CodeUri: src}}
  B: *function
  Common:
    Type: AWS::Serverless::LayerVersion
    Properties: {{ContentUri: src}}
    Metadata:
      BuildMethod: makefile
      BuildArchitecture: arm64
""",
        )

        assert [(each.setting, each.origin.line, each.configuration) for each in template.translations] == [
            ("Metadata.BuildMethod: python3.13", 5, ()),
            ("Metadata.BuildMethod: makefile", 12, ()),
            ("Metadata.BuildArchitecture: arm64", 13, (("architecture", "arm64"),)),
        ]
        assert template.translations[2] == Translation(
            setting="Metadata.BuildArchitecture: arm64",
            replacement="lamina builds layers for `architecture`",
            origin=Origin(file="template.yaml", line=13),
            configuration=(("architecture", "arm64"),),
        )


class TestCloudFormation:
    def test_local_code(self, tmp_path: Path) -> None:
        """Plain CloudFormation functions have a local directory as `aws cloudformation package` accepts it."""
        template = described(
            tmp_path,
            """Resources:
  Create:
    Type: AWS::Lambda::Function
    Properties: {Handler: a.b, Runtime: python3.12, Code: ./src, Layers: [!Ref Common]}
  Inline:
    Type: AWS::Lambda::Function
    Properties: {Handler: index.b, Runtime: python3.12, Code: {ZipFile: pass}}
  Common:
    Type: AWS::Lambda::LayerVersion
    Properties: {Content: {S3Bucket: a, S3Key: b}}
""",
        )

        assert template.tool is Tool.CLOUDFORMATION
        assert only(template) == TemplateFunction(
            name="Create",
            origin=Origin(file="template.yaml", line=2),
            handler="a.b",
            source="src",
            runtime="python3.12",
            layers=(LayerReference(name="Common"),),
        )
        assert template.layers == (TemplateLayer(name="Common", origin=Origin(file="template.yaml", line=8)),)
        assert [each.reason for each in template.skipped] == ["code is inline in the template"]

    def test_json(self, tmp_path: Path) -> None:
        """JSON templates have lines, too."""
        body = {"Type": "AWS::Lambda::Function", "Properties": {"Handler": "a.b", "Runtime": "python3.12", "Code": "."}}
        files = grow(tmp_path, {"t.json": json.dumps({"Resources": {"A": body, "B": body}}, indent=1)})

        assert [(each.name, each.origin.line, each.source) for each in read("t.json", files).functions] == [
            ("A", 3, "."),
            ("B", 11, "."),
        ]


PARAMETERS = """Parameters:
  Stage: {Type: String, Default: dev}
  Memory: {Type: Number}
  Secret: {Type: "AWS::SSM::Parameter::Value<String>", Default: /a/b}
  Names: {Type: CommaDelimitedList, Default: "a, b"}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  IsDev: !And [!Not [!Condition IsProd], !Or [!Equals [!Ref Stage, dev], !Condition IsProd]]
  ByRegion: !Equals [!Ref AWS::Region, eu-west-1]
Mappings:
  Sizes: {dev: {memory: 256}, prod: {memory: 1024}}
Resources:"""


class TestIntrinsics:
    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("!FindInMap [Sizes, !Ref Stage, memory]", 256),
            ("!If [IsProd, 1024, 128]", 128),
            ("!If [IsDev, 1, 2]", 1),
            ("!If [IsProd, 1024, !Ref AWS::NoValue]", None),
            ("!Select [1, [64, 128]]", 128),
            ('!Select ["1", !Split [",", "64,129"]]', 129),
            ('!Join ["", [1, 2, 8]]', 128),
            ('!Sub ["1${Rest}", {Rest: 28}]', 128),
            ('{"Fn::FindInMap": [Sizes, qa, memory, {DefaultValue: 300}]}', 300),
        ],
    )
    def test_known(self, tmp_path: Path, expression: str, expected: int | None) -> None:
        """Functions of static arguments are evaluated."""
        text = properties(f"MemorySize: {expression}").replace("Resources:", PARAMETERS)

        function = only(described(tmp_path, text))

        assert (function.memory_mb, function.unknown) == (expected, ())

    @pytest.mark.parametrize(
        ("expression", "reason"),
        [
            ("!Ref Memory", "parameter `Memory` has no default"),
            ("!Ref Secret", "parameter `Secret` is read from SSM during the deployment"),
            ("!Ref Missing", "`Missing` is neither a parameter nor a resource of the template"),
            (
                "!If [ByRegion, 1, 2]",
                "condition `ByRegion` is undecided: `AWS::Region` is known only during the deployment",
            ),
            ("!ImportValue shared", "`shared` is imported from another stack"),
            ("!GetAtt Create.Arn", "resource `Create` is known only after the deployment"),
            ("!Base64 x", "`Fn::Base64` is evaluated during the deployment"),
            ("!Length [1]", "`Fn::Length` is evaluated during the deployment"),
            ("!ToJsonString [1]", "`Fn::ToJsonString` is evaluated during the deployment"),
            ("!Transform {Name: X}", "`Fn::Transform` is evaluated during the deployment"),
            ("!FindInMap [Sizes, qa, memory]", "mapping `Sizes.qa.memory` does not exist"),
            ("!Select [7, [1]]", "the arguments of `Fn::Select` are invalid"),
            ("!Split 1", "the arguments of `Fn::Split` are invalid"),
            ("[1]", "the value is not a string"),
            ("much", "`much` is not a whole number from 0 to 1,000,000"),
        ],
    )
    def test_unknown(self, tmp_path: Path, expression: str, reason: str) -> None:
        """Everything that the deployment decides is unknown, with the name of what decides it."""
        text = properties(f"MemorySize: {expression}").replace("Resources:", PARAMETERS)

        function = only(described(tmp_path, text))

        assert (function.memory_mb, function.unknown) == (None, unknown("memory", reason))

    def test_layers(self, tmp_path: Path) -> None:
        """Parts of ARNs that the deployment decides are `*`, except its account; own layers have their logical ID; others are unknown."""
        text = properties(
            """Layers:
  - !Sub "arn:${AWS::Partition}:lambda:${AWS::Region}:123456789012:layer:a:${Version}"
  - !Join [":", ["arn:aws:lambda", !Ref AWS::Region, !Ref AWS::AccountId, "layer:b:1"]]
  - !GetAtt Own.LayerVersionArn
  - !If [Never, x, !Ref AWS::NoValue]
  - !Ref Arn
"""
        ).replace(
            "Resources:",
            "Parameters: {Version: {Type: Number, Default: 3}, Arn: {Type: String}}\nConditions: {Never: !Equals [a, b]}\nResources:\n"
            "  Own: {Type: AWS::Lambda::LayerVersion}",
        )

        function = only(described(tmp_path, text))

        assert [each.name for each in function.layers] == [
            "arn:*:lambda:*:123456789012:layer:a:3",
            "arn:aws:lambda:*:${AWS::AccountId}:layer:b:1",
            "Own",
        ]
        assert function.unknown == unknown("layers", "parameter `Arn` has no default")

    @pytest.mark.parametrize(
        "overrides",
        ['"Memory=512 Stage=prod"', '["Memory=512"]', '"ParameterKey=Memory,ParameterValue=512"', "'Memory=\"512\"'"],
    )
    def test_samconfig(self, tmp_path: Path, overrides: str) -> None:
        """`samconfig.toml` beside the template decides parameters."""
        text = properties("MemorySize: !Ref Memory").replace("Resources:", PARAMETERS)
        configuration = f"version = 0.1\n[default.deploy.parameters]\nparameter_overrides = {overrides}\n"

        assert only(described(tmp_path, text, {"samconfig.toml": configuration})).memory_mb == 512

    def test_loop(self, tmp_path: Path) -> None:
        """`Fn::ForEach` over a static list is expanded; another collection is skipped."""
        template = described(
            tmp_path,
            """Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]
Parameters: {Names: {Type: CommaDelimitedList, Default: "a,b"}, More: {Type: CommaDelimitedList}}
Resources:
  Fn::ForEach::Outer:
    - Name
    - !Ref Names
    - Handle${Name}:
        Type: AWS::Serverless::Function
        Properties: {Handler: !Sub "${Name}.handler", Runtime: python3.13, CodeUri: src}
  Fn::ForEach::Unknown: [Name, !Ref More, {"X${Name}": {Type: AWS::Serverless::Function}}]
""",
        )

        assert [(each.name, each.handler, each.origin.line) for each in template.functions] == [
            ("Handlea", "a.handler", 4),
            ("Handleb", "b.handler", 4),
        ]
        assert template.skipped == (
            Skipped(
                name="Fn::ForEach::Unknown",
                reason="the collection of the loop is unknown: parameter `More` has no default",
                origin=Origin(file="template.yaml", line=10),
            ),
        )


NESTED = f"""{SAM}Parameters: {{Runtime: {{Type: String}}, Layer: {{Type: String}}}}
Resources:
  Create:
    Type: AWS::Serverless::Function
    Properties: {{Handler: app.handler, Runtime: !Ref Runtime, CodeUri: code, Layers: [!Ref Layer]}}
Outputs: {{Name: {{Value: 512}}}}
"""


class TestNested:
    def test_parameters(self, tmp_path: Path) -> None:
        """Nested templates receive the parent's values; equal names are qualified with the stack; outputs are read."""
        template = described(
            tmp_path,
            f"""{SAM}Resources:
  Common: {{Type: AWS::Serverless::LayerVersion}}
  Api:
    Type: AWS::Serverless::Application
    Properties: {{Location: ./api/t.yaml, Parameters: {{Runtime: python3.13, Layer: !Ref Common}}}}
  Jobs:
    Type: AWS::CloudFormation::Stack
    Properties: {{TemplateURL: api/t.yaml, Parameters: {{Runtime: python3.12, Layer: !Ref Common}}}}
  Shared:
    Type: AWS::Serverless::Application
    Properties: {{Location: {{ApplicationId: arn, SemanticVersion: 1.0.0}}}}
  Mail:
    Type: AWS::Serverless::Function
    Properties: {{Handler: m.h, Runtime: python3.13, CodeUri: src, MemorySize: !GetAtt Api.Outputs.Name}}
""",
            {"api/t.yaml": NESTED, "api/code/": ""},
        )

        assert [(each.name, each.runtime, each.source, each.layers, each.memory_mb) for each in template.functions] == [
            ("ApiCreate", "python3.13", "api/code", (LayerReference(name="Common"),), None),
            ("JobsCreate", "python3.12", "api/code", (LayerReference(name="Common"),), None),
            ("Mail", "python3.13", "src", (), 512),
        ]
        assert template.skipped == (
            Skipped(
                name="Shared",
                reason="the nested template is not a local file",
                origin=Origin(file="template.yaml", line=10),
            ),
        )

    def test_cycle(self, tmp_path: Path) -> None:
        """A template that includes itself is an error."""
        text = "Resources: {A: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: template.yaml}}}"

        with pytest.raises(TemplateError) as caught:
            described(tmp_path, text)

        assert str(caught.value) == "`template.yaml` includes itself: template.yaml → template.yaml"

    @pytest.mark.parametrize(
        ("location", "reason"),
        [
            ("https://s3.amazonaws.com/b/t.yaml", "the nested template is not a local file"),
            ("../../t.yaml", "the nested template `../../t.yaml` is outside the project"),
            ("missing.yaml", "`missing.yaml` does not exist"),
            ("broken.yaml", "`broken.yaml`, line 1: not valid YAML: unknown tag `!What`"),
        ],
    )
    def test_skipped(self, tmp_path: Path, location: str, reason: str) -> None:
        """Nested templates that cannot be read are skipped."""
        text = f"Resources: {{A: {{Type: AWS::CloudFormation::Stack, Properties: {{TemplateURL: {location!r}}}}}}}"

        assert [each.reason for each in described(tmp_path, text, {"broken.yaml": "a: !What 1"}).skipped] == [reason]


class TestUnknown:
    def test_source(self, tmp_path: Path) -> None:
        """Code outside the project, or in a missing directory, is unknown."""
        for written, reason in (
            ("../../other", "`../../other` is outside the project"),
            ("gone", "`gone` does not exist"),
            ("!Ref Missing", "`Missing` is neither a parameter nor a resource of the template"),
        ):
            function = only(described(tmp_path, properties("").replace("CodeUri: src", f"CodeUri: {written}")))

            assert (function.source, function.unknown) == (None, unknown("source", reason))

    def test_required(self, tmp_path: Path) -> None:
        """A missing handler or runtime is unknown."""
        function = only(described(tmp_path, "Resources: {A: {Type: AWS::Serverless::Function}}"))

        assert function.unknown == (
            UnknownSetting(setting="handler", reason="`handler` is not set"),
            UnknownSetting(setting="runtime", reason="`runtime` is not set"),
        )


VALID: dict[str, Any] = {
    "Transform": ["AWS::Serverless-2016-10-31", "AWS::LanguageExtensions"],
    "Parameters": {
        "Stage": {"Type": "String", "Default": "dev"},
        "Many": {"Type": "CommaDelimitedList", "Default": "a,b"},
    },
    "Conditions": {"Prod": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}, "Dev": {"Fn::Not": [{"Condition": "Prod"}]}},
    "Mappings": {"Sizes": {"dev": {"memory": 128}}},
    "Globals": {"Function": {"Layers": ["arn:a"], "Environment": {"Variables": {"A": "b"}}}},
    "Resources": {
        "Create": {
            "Type": "AWS::Serverless::Function",
            "Metadata": {"BuildMethod": "python3.13", "aws:asset:path": "src"},
            "IgnoreGlobals": ["Timeout"],
            "Properties": {
                "Handler": {"Fn::Sub": ["${A}.handler", {"A": "app"}]},
                "Runtime": {"Fn::If": ["Dev", "python3.13", "python3.12"]},
                "CodeUri": {"Fn::Join": ["/", ["src", {"Fn::Select": [0, {"Fn::Split": [",", ".,b"]}]}]]},
                "MemorySize": {"Fn::FindInMap": ["Sizes", {"Ref": "Stage"}, "memory"]},
                "Architectures": ["arm64"],
                "Environment": {"Variables": {"B": {"Ref": "Stage"}}},
                "Layers": [{"Ref": "Common"}, {"Fn::GetAtt": ["Common", "Arn"]}],
            },
        },
        "Common": {
            "Type": "AWS::Serverless::LayerVersion",
            "Properties": {"ContentUri": "src", "CompatibleRuntimes": ["python3.13"]},
        },
        "Fn::ForEach::Loop": [
            "X",
            {"Ref": "Many"},
            {"F${X}": {"Type": "AWS::Lambda::Function", "Properties": {"Code": "src"}}},
        ],
        "Nested": {
            "Type": "AWS::CloudFormation::Stack",
            "Properties": {"TemplateURL": "n.json", "Parameters": {"A": "b"}},
        },
    },
    "Outputs": {"O": {"Value": {"Ref": "Create"}, "Export": {"Name": "o"}}},
}
ODD: list[Any] = [
    *(None, True, -1, 1.5, 10**400, "", "x\0y", "../..", "\ud800", "a" * 5000, [], {}, [[]], [None], {"": None}),
    *({"Ref": []}, {"Ref": "Stage"}, {"Fn::Sub": None}, {"Fn::Join": [None, None]}, {"Fn::If": ["Prod"]}, {"Fn::X": 1}),
    {"Fn::Transform": {}},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in *value*."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


PLACES = places(VALID)


class TestHostile:
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(changes=st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(ODD)), min_size=1, max_size=3))
    def test_mutations(self, tmp_path: Path, changes: list[tuple[tuple[Any, ...], Any]]) -> None:
        """A wrong type anywhere causes nothing but a TemplateError."""
        root: Any = copy.deepcopy(VALID)
        for path, value in changes:
            if not path:
                root = copy.deepcopy(value)
                continue
            parent = root
            try:
                for key in path[:-1]:
                    parent = parent[key]
                parent[path[-1]] = copy.deepcopy(value)
            except (KeyError, IndexError, TypeError):
                continue
        (tmp_path / "src").mkdir(exist_ok=True)
        (tmp_path / "n.json").write_text("{}")
        (tmp_path / "t.json").write_text(json.dumps(root))
        try:
            template = read("t.json", TemplateFiles(tmp_path))
        except TemplateError:
            return

        assert isinstance(template, Template)

    def test_every_place(self, tmp_path: Path) -> None:
        """Each value of a valid template can be replaced by odd values."""
        files = grow(tmp_path, {"src/": "", "n.json": "{}"})
        for number, path in enumerate(PLACES[1:]):
            # A quarter of the values for each place, another one for the next place, so that the test takes seconds.
            for value in ODD[number % 4 :: 4]:
                root = copy.deepcopy(VALID)
                parent: Any = root
                for key in path[:-1]:
                    parent = parent[key]
                parent[path[-1]] = value
                (tmp_path / "t.json").write_text(json.dumps(root))
                try:
                    read("t.json", files)
                except TemplateError as error:
                    assert len(str(error)) < 1000  # noqa: PT017

    @pytest.mark.parametrize(
        "text", ["[]", "1", "", "Resources: []", "Resources: {A: !Unknown x}", "a: [", "? [a]\n: b"]
    )
    def test_no_template(self, tmp_path: Path, text: str) -> None:
        """Files that are not templates are errors."""
        with pytest.raises(TemplateError):
            described(tmp_path, text)

    def test_escaped_keys(self, tmp_path: Path) -> None:
        """Keys written with escapes have no line, and searching them ends after a few."""
        template = {"Transform": "AWS::Serverless-2016-10-31", "Resources": {}}
        bodies = ",".join(
            f'"\\u0046{number}":{{"Type":"AWS::Serverless::Function","Properties":{{"Handler":"a.h","Runtime":"python3.13"}}}}'
            for number in range(400)
        )
        text = json.dumps(template).replace('"Resources": {}', f'"Resources": {{{bodies}}}')
        (tmp_path / "t.json").write_text(text, "utf-8")

        functions = read("t.json", TemplateFiles(tmp_path)).functions

        assert len(functions) == 400
        assert {each.origin.line for each in functions} == {1}

    def test_self_reference(self, tmp_path: Path) -> None:
        """Conditions that refer to each other are undecided."""
        text = properties("Timeout: !If [A, 1, 2]").replace(
            "Resources:", "Conditions: {A: !Not [!Condition B], B: !Not [!Condition A]}\nResources:"
        )

        assert only(described(tmp_path, text)).unknown == unknown(
            "timeout",
            "condition `A` is undecided: condition `B` is undecided: condition `A` is undecided: the value refers to itself",
        )

    def test_doubling(self, tmp_path: Path) -> None:
        """Aliases that double a string at each level neither take long nor use much memory."""
        rows = ["  M0: &m0 {Ref: Long}"]
        rows += [f"  M{n}: &m{n} !Join ['', [*m{n - 1}, *m{n - 1}]]" for n in range(1, 35)]
        text = (
            properties("Handler: *m34")
            .replace("      Handler: app.handler\n", "")
            .replace(
                "Resources:",
                f"Parameters: {{Long: {{Default: {'x' * 1000}}}}}\nMappings:\n" + "\n".join(rows) + "\nResources:",
            )
        )

        function = only(described(tmp_path, text))

        assert function.unknown == unknown("handler", "the value is longer than 1 MB")

    def test_many_conditions(self, tmp_path: Path) -> None:
        """A long chain of conditions ends without a RecursionError."""
        chain = ", ".join(f"C{n}: !Not [!Condition C{n + 1}]" for n in range(3000))
        text = properties("Timeout: !If [C0, 1, 2]").replace("Resources:", f"Conditions: {{{chain}}}\nResources:")

        assert only(described(tmp_path, text)).why_unknown("timeout") is not None

    def test_loops_in_loops(self, tmp_path: Path) -> None:
        """Loops that multiply their resources end in an error."""
        loop: Any = {"F${A}${B}${C}": {"Type": "X"}}
        for name in "ABC":
            loop = {f"Fn::ForEach::L{name}": [name, [str(n) for n in range(60)], loop]}

        with pytest.raises(TemplateError) as caught:
            read("t.json", grow(tmp_path, {"t.json": json.dumps({"Resources": loop})}))

        assert str(caught.value) in {
            "`t.json` has more than 10,000 resources",
            "`t.json`: the values of the template are too large to evaluate",
        }

    def test_many_nested(self, tmp_path: Path) -> None:
        """Nested templates that multiply end in an error."""
        stack = "{{Type: AWS::CloudFormation::Stack, Properties: {{TemplateURL: t{}.yaml}}}}"
        files = {f"t{n}.yaml": f"Resources: {{A: {stack.format(n + 1)}, B: {stack.format(n + 1)}}}" for n in range(12)}

        with pytest.raises(TemplateError):
            read("t0.yaml", grow(tmp_path, files))

    def test_large(self, tmp_path: Path) -> None:
        """A JSON template of 20 MB is read in less than two seconds."""
        body = {
            "Type": "AWS::Lambda::Function",
            "Properties": {"Handler": "a.b", "Runtime": "python3.12", "Code": "src"},
        }
        filler = {"Type": "AWS::X::Y", "Properties": {"Text": "x" * 3500}}
        resources = {f"F{n}": body if n % 5 == 0 else filler for n in range(7000)}
        files = grow(tmp_path, {"src/": "", "t.json": json.dumps({"Resources": resources}, indent=1)})

        template = read("t.json", files)

        assert len(template.functions) == 1400
        assert template.functions[-1].origin.line is not None
