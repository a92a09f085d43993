"""Imports that nothing provides: small services, each built whole, with the findings of the rule ``missing-import``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from built import MINOR
from lamina.bytecode.interpreter import environment_variable
from lamina.core.store import Store
from lamina.core.values import Severity
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from locking import edges, package, root, write_uv_lock
from services import make_service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lamina.core.values import Finding
    from services import Service

HANDLER = "\ndef handler(event, context):\n    return event\n"
# The locked distributions: their modules have other names, share a namespace, or are only type stubs.
WHEELS: Mapping[str, Mapping[str, str]] = {
    "differently-named": {"other.py": "", "pack/__init__.py": "", "pack/deep.py": ""},
    "company-auth": {"company/cloud/auth/__init__.py": ""},
    "six-like": {"sixlike.py": ""},
    "types-stubbed": {"stubbed-stubs/__init__.pyi": "", "typed/__init__.pyi": ""},
    "native": {"fast.cpython-313-x86_64-linux-gnu.so": "", "inner/_speed.abi3.so": "", "inner/__init__.py": ""},
    "maker": {"pymysql/__init__.py": ""},
    "plugged": {"plugged/__init__.py": "", "plugged-1.dist-info/entry_points.txt": "[tool]\na = plugged.plugin\n"},
}


def find(service: Service, store: Store) -> list[Finding]:
    """Build *service* and return the findings of the rule."""
    result = build(service.write(), BuildOptions(offline=True), store=store)
    return [finding for finding in result.build.findings if finding.rule == "missing-import"]


def write(root: Path, files: Mapping[str, str]) -> None:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    service = make_service(tmp_path)
    for name, files in WHEELS.items():
        service.add(name, "1", files)
    service.settings["source"] = '["app/*"]'
    service.functions = {"f": "main.handler"}
    return service


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


class Case(NamedTuple):
    """A function's sources by path, and the modules that it cannot import, each with the severity of the finding."""

    name: str
    files: Mapping[str, str]
    missing: Sequence[str]


def case(name: str, files: Mapping[str, str] | str, *missing: str) -> Case:
    """Return a test case. A text instead of *files* is the content of ``main.py``."""
    return Case(name, {"main.py": files} if isinstance(files, str) else files, missing)


CASES = [
    case("nothing", ""),
    case("standard library", "import json, xml.etree.ElementTree, _thread, sys, __future__\nfrom os import path"),
    case("runtime", "import boto3, botocore.client, dateutil.parser, urllib3"),
    case("module of the layer", "import other, pack.deep\nfrom pack import anything"),
    case("name of a distribution instead of its module", "import differently_named", "error differently_named"),
    case("absent", "import absent.deep", "error absent"),
    case("from import", "from absent.deep import name as other", "error absent"),
    case("in a function", "def f():\n    import absent", "warning absent"),
    case("in a method", "class C:\n    def f(self):\n        from absent import x", "warning absent"),
    case("in a class body", "class C:\n    import absent", "error absent"),
    case("in a condition", "import os\nif os.environ.get('X'):\n    import absent", "warning absent"),
    case("in try", "try:\n    import absent\nexcept ImportError:\n    absent = None", "warning absent"),
    case("in try with another error", "try:\n    import absent\nexcept ValueError:\n    pass", "warning absent"),
    case("in try without except", "try:\n    import absent\nfinally:\n    pass", "error absent"),
    case("with a replacement", "try:\n    import absent as json\nexcept ImportError:\n    import json"),
    case(
        "with a missing replacement",
        "try:\n    import absent\nexcept ModuleNotFoundError:\n    import gone as absent",
        "error gone",
    ),
    case("suppressed", "from contextlib import suppress\nwith suppress(ImportError):\n    import absent", "warning absent"),
    case("in with", "with open('/dev/null'):\n    import absent", "error absent"),
    case("type checking", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import absent, typed.deep"),
    case("typing.TYPE_CHECKING", "import typing\nif not typing.TYPE_CHECKING:\n    import absent", "error absent"),
    case("another platform", "import sys\nif sys.platform == 'win32':\n    import winreg\nelse:\n    import fcntl"),
    case("another version", "import sys\nif sys.version_info < (3, 8):\n    import absent"),
    case("as a script", "if __name__ == '__main__':\n    import absent"),
    case("import_module", "import importlib\nimportlib.import_module('absent.x')", "error absent"),
    case("import_module of a name", "import importlib\ndef f(n):\n    return importlib.import_module('absent' + n)"),
    case("__import__", "__import__('absent')", "error absent"),
    case("find_spec", "from importlib.util import find_spec\nHAS = find_spec('absent') is not None"),
    case("a string that looks like a module", "NAME = 'absent.module.function'"),
    case("relative", {"main.py": "from pkg import a", "pkg/__init__.py": "", "pkg/a.py": "from . import b\nfrom .c import d", "pkg/b.py": ""}, "error pkg.c"),
    case("relative in a module without a package", {"main.py": "from .helper import x", "helper.py": ""}, "error helper"),
    case("too many dots", {"main.py": "import pkg.a", "pkg/__init__.py": "", "pkg/a.py": "from ..helper import x"}, "error helper"),
    case("parents", {"main.py": "import pkg.a", "pkg/__init__.py": "import absent", "pkg/a.py": ""}, "error absent"),
    case("attribute of a package", {"main.py": "from pkg import value, f, C, alias, lib", "pkg/__init__.py": "import os as alias\nimport lib.a\nvalue = 1\ndef f(): pass\nclass C: pass", "lib/a.py": ""}),
    case("neither attribute nor submodule", {"main.py": "from pkg import gone", "pkg/__init__.py": ""}, "error pkg.gone"),
    case("dynamic attribute", {"main.py": "from pkg import gone", "pkg/__init__.py": "def __getattr__(name): ..."}),
    case("star import", {"main.py": "from pkg import gone", "pkg/__init__.py": "from .a import *", "pkg/a.py": ""}),
    case("extended package", {"main.py": "import pkg.gone", "pkg/__init__.py": "import pkgutil\n__path__ = pkgutil.extend_path(__path__, __name__)"}),
    case("namespace package", {"main.py": "import ns.sub.a\nfrom ns import sub\nfrom ns.sub import a", "ns/sub/a.py": ""}),
    case("missing in a namespace package", {"main.py": "from ns import gone", "ns/a.py": ""}, "error ns.gone"),
    case("namespace of the layer", "import company.cloud.auth\nfrom company.cloud import storage", "error company.cloud.storage"),
    case("namespace of both", {"main.py": "import company.cloud.auth, company.own", "company/own.py": ""}),
    case("package that hides a namespace", {"main.py": "import company.cloud.auth", "company/__init__.py": ""}, "error company.cloud"),
    case("directory beside a package of the layer", {"main.py": "import pack.deep", "pack/data.txt": ""}),
    case("stubs only", "import stubbed", "error stubbed"),
    case("typed namespace", "from typed import name", "error typed.name"),
    case("extension modules", "import fast, inner._speed"),
    case("modules made at run time", "import sixlike.moves.urllib\nfrom sixlike.moves import range"),
    case("entry points", "from importlib.metadata import entry_points\nfor each in entry_points(group='tool'):\n    each.load()"),
    case("changed sys.path", {"main.py": "import sys\nsys.path.insert(0, 'lib')\nimport helper", "lib/helper.py": ""}),
    case("changed sys.path to elsewhere", "import sys\nsys.path.append('/mnt/x')\nimport absent", "warning absent"),
    case("circle", {"main.py": "import a", "a.py": "import b", "b.py": "import a, absent"}, "error absent"),
    case("required somewhere", {"main.py": "def f():\n    import absent\nimport a", "a.py": "import absent"}, "error absent"),
    case("with a replacement that is not needed", "try:\n    import tomllib\nexcept ModuleNotFoundError:\n    import tomli as tomllib"),
    case("replacements in turn", "try:\n    import json\nexcept ImportError:\n    try:\n        import absent as json\n    except ImportError:\n        import gone as json"),
    case("with an optional replacement", "try:\n    import absent as json\nexcept ImportError:\n    try:\n        import gone as json\n    except ImportError:\n        import json", "warning gone"),
    case("with another error raised", "try:\n    import absent\nexcept ImportError as error:\n    import json\n    raise RuntimeError from error", "error absent"),
    case("suppressed by another name", "import contextlib\nquiet = contextlib.suppress(ImportError)\nwith quiet:\n    import absent", "warning absent"),
    case("in a context manager that may suppress", "from contextlib import suppress as optional\nwith optional(ImportError):\n    import absent", "warning absent"),
    case("another version, mirrored", "import sys\nif (3, 8) > sys.version_info:\n    import absent"),
    case("a patch version", "import sys\nif sys.version_info < (3, 13, 1):\n    import absent", "warning absent"),
    case("one of several platforms", "import sys\nif sys.platform in ('win32', 'cygwin') or sys.platform.startswith(('win', 'cygwin')):\n    import absent"),
    case("as a script, mirrored", "if '__main__' == __name__:\n    import absent"),
    case("import_module under another name", "from importlib import import_module as load\nload('absent')", "error absent"),
    case("import_module in a lambda", "import importlib\nload = lambda: importlib.import_module('absent')", "warning absent"),
    case("import_module in an expression", "import importlib, os\nx = importlib.import_module('absent') if os.environ.get('X') else None", "warning absent"),
    case("a function named import_module", "def import_module(name):\n    return name\nimport_module('absent')"),
    case("a method named import_module", "class C:\n    def import_module(self, name):\n        return name\nc = C()\nc.import_module('absent')"),
    case("import_module in the package", {"main.py": "import pkg", "pkg/__init__.py": "import importlib\nimportlib.import_module('.gone', __package__)"}, "error pkg.gone"),
    case("attributes of every module", {"main.py": "from pkg import __version__, __file__, __path__\nfrom ns import __path__", "pkg/__init__.py": "__version__ = '1'", "ns/a.py": ""}),
    case("attributes by global", {"main.py": "from pkg import a, b", "pkg/__init__.py": "def f():\n    global a\n    a = 1\n    globals()['B'.lower()] = 2\nf()"}),
    case("attributes by locals", {"main.py": "from pkg import a", "pkg/__init__.py": "locals()['A'.lower()] = 1"}),
    case("attributes by match", {"main.py": "from pkg import a, b, c, d", "pkg/__init__.py": "match [{'a': 1}, 2]:\n    case [{'a': a, **b}, *c] as d: pass"}),
    case("attribute set by another module", {"main.py": "import fill\nfrom pkg import a", "pkg/__init__.py": "", "fill.py": "import pkg\npkg.a = 1"}, "warning pkg.a"),
    case("imported __getattr__", {"main.py": "from pkg import a", "pkg/__init__.py": "from .lazy import __getattr__", "pkg/lazy.py": "def __getattr__(name): return 1"}),
    case("assigned __getattr__", {"main.py": "from pkg import a", "pkg/__init__.py": "from .lazy import attach\n__getattr__, __dir__ = attach()", "pkg/lazy.py": "def attach(): return (lambda name: 1), (lambda: [])"}),
    case("created", "import sys, types\nsys.modules['made'] = types.ModuleType('made')\nimport made", "warning made"),
    case("created by another module", {"main.py": "import shim\nshim.install()\nimport made.sub", "shim.py": "from sys import modules\ndef install():\n    for name in ('made', 'made.sub'):\n        modules.setdefault(name, object())"}, "warning made"),
    case("created by a distribution", "import pymysql\npymysql.install_as_MySQLdb()\nimport MySQLdb.cursors"),
    case("created below a module", {"main.py": "import shim.moves", "shim.py": "import sys\nsys.modules[__name__ + '.moves'] = sys"}),
    case("only looked up in sys.modules", "import sys\nsys.modules[__name__].x = 'absent' in sys.modules\nimport absent", "error absent"),
    case("path changed in a function", {"main.py": "import pkg.other", "pkg/__init__.py": "def extend():\n    __path__.append('/opt/more')\nextend()"}),
    case("declared namespace", {"main.py": "import pkg.other", "pkg/__init__.py": "__import__('pkg_resources').declare_namespace(__name__)"}, "error pkg_resources"),
    case("sys.path with other names", {"main.py": "from sys import argv, path\npath.insert(0, 'lib')\nimport helper", "lib/helper.py": ""}),
    case("another finder", "import sys\nsys.meta_path.append(None)\nimport absent", "warning absent"),
    case("module beside a directory of its name", {"main.py": "import dup.a", "dup.py": "", "dup/a.py": ""}, "error dup.a"),
    case("in the runtime for snapshots", "import snapshot_restore_py"),
    case("removed from the standard library", "import telnetlib, imp", "error imp", "error telnetlib"),
    case("another operating system", "import winreg", "error winreg"),
    case("syntax of a newer Python", {"main.py": "import odd", "odd.py": "def broken(:"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Build one service with a function for each of `CASES`, and return the severity and module of the findings of each."""
    directory = tmp_path_factory.mktemp("cases")
    service = make_service(directory)
    for name, files in WHEELS.items():
        service.add(name, "1", files)
    service.functions = {f"f{number}": f"main{number}.handler" for number in range(len(CASES))}
    service.sources = {f"f{number}": f'["cases/{number}/*"]' for number in range(len(CASES))}
    for number, each in enumerate(CASES):
        handler = {f"main{number}.py": each.files["main.py"] + HANDLER}
        write(service.root / "cases" / str(number), {**each.files, **handler})
    result: dict[str, list[str]] = {name: [] for name in service.functions}
    for finding in find(service, Store.open(directory / "store")):
        # The chain ends with the missing module.
        module = finding.message.split(" → `")[-1].partition("`")[0]
        result[str(finding.path)].append(f"{finding.severity.value} {module}")
    return result


@pytest.mark.parametrize("number", range(len(CASES)), ids=[each.name for each in CASES])
def test_missing_imports(found: Mapping[str, list[str]], number: int) -> None:
    """Each import that fails on Lambda is found, and no other."""
    assert sorted(found[f"f{number}"]) == sorted(CASES[number].missing)


def locked(service: Service, *, groups: Mapping[str, list[str]], extras: Mapping[str, list[str]]) -> None:
    """Replace the lock of *service* with a uv.lock that also has *groups* and *extras*."""
    names = {each for needs in (*groups.values(), *extras.values()) for each in needs}
    service.write()
    (service.root / "pylock.toml").unlink()
    own = root(
        name="greeter",
        dev_dependencies={name: edges(*needs) for name, needs in groups.items()},
        optional_dependencies={name: edges(*needs) for name, needs in extras.items()},
        metadata={
            "requires-dist": [
                {"name": need, "marker": f"extra == '{name}'"} for name, needs in extras.items() for need in needs
            ],
            "requires-dev": {name: edges(*needs) for name, needs in groups.items()},
            "provides-extras": list(extras),
        },
    )
    write_uv_lock(service.root, own, *map(package, names), requires_python=">=3.12")
    text = (service.root / "pyproject.toml").read_text()
    text = text.replace("[tool.lamina]", f"dependencies = []\n{tables(groups, extras)}[tool.lamina]", 1)
    (service.root / "pyproject.toml").write_text(text)


def tables(groups: Mapping[str, list[str]], extras: Mapping[str, list[str]]) -> str:
    lines = ["[dependency-groups]", *(f"{name} = {json.dumps(needs)}" for name, needs in groups.items())]
    lines += ["[project.optional-dependencies]", *(f"{name} = {json.dumps(needs)}" for name, needs in extras.items())]
    return "\n".join((*lines, ""))


def messages(service: Service, store: Store, *, written: bool = False) -> list[str]:
    project = service.root if written else service.write()
    result = build(project, BuildOptions(offline=True), store=store)
    return [finding.message for finding in result.build.findings if finding.rule == "missing-import"]


def test_chain_and_functions(service: Service, store: Store) -> None:
    """A finding names the functions, the chain from the handler to the import, and the line."""
    service.functions = {name: f"{name}.handler" for name in ("a", "b", "c")}
    write(
        service.root / "app",
        {
            "a.py": f"import orders.billing{HANDLER}",
            "b.py": f"import orders.billing{HANDLER}",
            "c.py": HANDLER,
            "orders/__init__.py": "",
            "orders/billing.py": "import json\n\nfrom yaml import safe_load\n",
        },
    )

    (message,) = messages(service, store)

    assert message == (
        "`a`, `b` cannot import `yaml`: `a` → `orders.billing` → `yaml` (`orders/billing.py`, line 3); "
        "add `pyyaml` to the dependencies and lock again"
    )


@pytest.mark.parametrize(
    ("statement", "files", "cure"),
    [
        ("import helper", {"lib/helper.py": ""}, 'set `source = ["app/*", "lib/helper.py"]`'),
        ("import helper", {"lib/helper/a.py": ""}, 'set `source = ["app/*", "lib/helper"]`'),
        ("import app.shared", {"app/shared.py": ""}, 'set `source = ["app/*", "app"]`'),
        ("import gen", {"app/gen.py": "", ".gitignore": "gen.py\n"}, 'set `include = ["app/gen.py"]`'),
        ("import p.gen", {"app/p/gen/a.py": "", ".gitignore": "gen/\n"}, 'set `include = ["app/p/gen"]`'),
        ("import tests", {"app/tests/__init__.py": ""}, 'set `include = ["app/tests"]`'),
        ("from p.test_utils import a", {"app/p/test_utils.py": "a = 1"}, 'set `include = ["app/p/test_utils.py"]`'),
        (
            "import p.a",
            {"app/p/a.py": "from . import _version", "app/p/_version.py": "", ".gitignore": "_*\n"},
            'set `include = ["app/p/_version.py"]`',
        ),
        ("import p.venv.a", {"app/p/__init__.py": "", "app/p/venv/a.py": ""}, 'set `include = ["app/p/venv"]`'),
    ],
)
def test_cure_in_the_project(
    service: Service, store: Store, statement: str, files: Mapping[str, str], cure: str
) -> None:
    """For a module of the project, the message has the setting that packages it, and with this setting the build passes."""
    write(service.root / "app", {"main.py": f"{statement}{HANDLER}"})
    write(service.root, files)

    (message,) = messages(service, store)

    assert cure in message
    key, _, value = cure.removeprefix("set `").removesuffix("`").partition(" = ")
    service.settings[key] = value
    assert messages(service, store) == []


@pytest.mark.parametrize(
    ("statement", "cure"),
    [
        ("import pytest", '`pytest` is locked only for the group `dev`: run `uv add pytest`, or set `groups = ["dev"]`'),
        ("import fast", '`fast` is locked only for the extra `speed`: run `uv add fast`, or set `extras = ["speed"]`'),
        ("import shared", '`shared` is locked only for the groups `dev`, `docs`: run `uv add shared`, or set `groups = ["dev"]`'),
        ("import yaml", "`pyyaml` is locked only for the group `dev`"),
        ("import jwt", "run `uv add pyjwt`"),
        ("import google.protobuf.message", "run `uv add protobuf`"),
        ("from google.cloud import storage", "run `uv add google-cloud-storage`"),
        ("import pkg_resources", "run `uv add 'setuptools<82'`"),
        ("import unheard_of", "add the distribution that provides `unheard_of` to the dependencies"),
        ("import telnetlib", "Python 3.12 was the last version with `telnetlib`"),
    ],
)  # fmt: skip
def test_cure_in_the_lock(service: Service, store: Store, statement: str, cure: str) -> None:
    """For a distribution, the message has the group or extra that locks it, or the command that adds it."""
    write(service.root / "app", {"main.py": f"{statement}{HANDLER}"})
    service.locked = {}
    groups = {"dev": ["pytest", "shared", "pyyaml"], "docs": ["shared"]}
    locked(service, groups=groups, extras={"speed": ["fast"]})

    (message,) = messages(service, store, written=True)

    assert cure in message


def test_cure_in_another_layer(service: Service, store: Store) -> None:
    """A distribution that another layer contains, or that a layer leaves out, is named with the setting."""
    write(service.root / "app", {"main.py": f"import alpha, beta{HANDLER}"})
    service.settings["layers.one"] = '{ without = ["alpha", "beta"] }'
    service.settings["layers.two"] = '{ without = ["beta"] }'
    service.more["f"] = 'layers = ["one"]'

    assert [message.partition("; ")[2] for message in messages(service, store)] == [
        "`alpha` is in layer `two`: add it to the function's `layers`",
        "layer `one` leaves out `beta`: remove it from `without`",
    ]


def test_sdk_of_the_runtime(service: Service, store: Store) -> None:
    """The SDK that a layer leaves out is the runtime's, so importing it is no finding."""
    write(service.root / "app", {"main.py": f"import boto3, s3transfer{HANDLER}"})
    service.add("boto3", "1.0", {"boto3/__init__.py": ""})
    service.settings["sdk"] = '"runtime"'

    assert messages(service, store) == []


def test_other_sources_of_modules(service: Service, store: Store) -> None:
    """A layer of another ARN makes the finding a note, `provided` removes it."""
    write(service.root / "app", {"main.py": f"import aws_lambda_powertools{HANDLER}"})
    arn = "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-x86_64:7"
    service.more["f"] = f'layer-arns = ["{arn}"]'

    (finding,) = find(service, store)
    assert finding.severity is Severity.NOTE
    assert finding.message == (
        "`f` imports `aws_lambda_powertools`: `main` → `aws_lambda_powertools` (`main.py`, line 1); "
        f"lamina does not know what `{arn}` contains; to find out, run `lamina pin`"
    )

    service.settings["provided"] = '["aws_lambda_powertools"]'
    assert find(service, store) == []


def test_provided_parts_of_a_namespace(service: Service, store: Store) -> None:
    """A dotted name in `provided` stands for the module and what is below it, not for the rest of its parent."""
    write(service.root / "app", {"main.py": f"import mounted.tools.deep, mounted.other{HANDLER}"})
    service.settings["provided"] = '["mounted.tools"]'

    (message,) = messages(service, store)

    assert message.startswith("`f` cannot import `mounted.other`: ")


def test_cure_in_an_existing_package(service: Service, store: Store) -> None:
    """If only a part of a packaged module is missing, the message proposes no other source."""
    write(
        service.root / "app", {"main.py": f"from pkg import gone{HANDLER}", "pkg/__init__.py": "", "other/pkg/a.py": ""}
    )

    (message,) = messages(service, store)

    assert message.partition("; ")[2] == "the package `pkg` has no module `gone` and does not define that name"


def test_cure_for_a_copy(service: Service, store: Store) -> None:
    """A directory with the name of a common distribution is not proposed as a source, because it may be a copy."""
    write(service.root / "app", {"main.py": f"import requests{HANDLER}"})
    write(service.root, {"vendored/requests/__init__.py": ""})

    (message,) = messages(service, store)

    assert message.partition("; ")[2] == "add `requests` to the dependencies and lock again"


def test_inside_distributions(service: Service, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """With reachable bytecode, the imports of distributions are followed too: those that always run."""
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    service.requires_python = f">={MINOR}"
    service.settings |= {"runtime": f'"python{MINOR}"', "bytecode": '"reachable"'}
    write(service.root / "app", {"main.py": f"import outer{HANDLER}"})
    optional = "try:\n    import speedups\nexcept ImportError:\n    pass\ndef f():\n    import rarely\n"
    service.add(
        "outer",
        "1",
        {"outer/__init__.py": f"{optional}from . import core\n", "outer/core.py": "import core_of_outer\n"},
    )
    service.add("core-of-outer", "1", {"core_of_outer.py": ""})
    assert messages(service, store) == []

    service.settings["layers.common"] = '{ without = ["core-of-outer"] }'

    (message,) = messages(service, store)
    assert message == (
        "`f` cannot import `core_of_outer`: `main` → `outer` → `outer.core` → `core_of_outer` (`outer/core.py` of `outer`); "
        "layer `common` leaves out `core-of-outer`: remove it from `without`"
    )


def test_distributions_that_provide_modules_at_run_time(
    service: Service, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules that distributions bundle or create are not missing, nor are those in a context manager that may suppress errors."""
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    service.requires_python = f">={MINOR}"
    service.settings |= {"runtime": f'"python{MINOR}"', "bytecode": '"reachable"'}
    write(service.root / "app", {"main.py": f"import outer{HANDLER}"})
    outer = (
        "import sys, types\nfrom . import core\nsys.path.append(__path__[0] + '/_vendor')\nimport bundled.deep\n"
        "sys.modules['made'] = types.ModuleType('made')\nimport made\nimport absent\n"
    )
    service.add(
        "outer",
        "1",
        {
            "outer/__init__.py": outer,
            "outer/core.py": "with optional():\n    import speedups\n",
            "outer/_vendor/bundled/deep.py": "",
        },
    )

    (message,) = messages(service, store)

    assert message.startswith("`f` cannot import `absent`: `main` → `outer` → `absent` ")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[",
        "{}x",
        "[1]",
        "[[]]",
        '[["a", true, []]]',
        '[["a", true, [[1, 2, 3]]]]',
        '[["a", true, [["b", "", ""]]]]',
    ],
)
def test_damaged_results(service: Service, store: Store, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """An invalid file with kept results is replaced, whatever it contains."""
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    service.requires_python = f">={MINOR}"
    service.settings |= {"runtime": f'"python{MINOR}"', "bytecode": '"reachable"'}
    write(service.root / "app", {"main.py": f"import outer{HANDLER}"})
    service.add("outer", "1", {"outer.py": "import absent\n"})
    before = messages(service, store)
    (kept,) = (store.root / "missing").rglob("*.json")
    good = kept.read_bytes()
    kept.write_text(content)
    # Another build checks again.
    write(service.root / "app", {"main.py": f"import outer{HANDLER}    # changed\n"})

    assert messages(service, store) == before
    assert kept.read_bytes() == good


def test_line_in_a_source_with_warnings(service: Service, store: Store) -> None:
    """The line of an import is that at the top level, and a warning about the source is not an error."""
    source = 'X = "\\d"\ndef f():\n    import absent\nimport absent\n'
    write(service.root / "app", {"main.py": f"{source}{HANDLER}"})

    (message,) = messages(service, store)

    assert "(`main.py`, line 4); " in message


def test_findings_of_many_functions(service: Service, store: Store) -> None:
    """Each finding names the functions that it affects, also if they share some of the missing modules."""
    service.functions = {f"f{number}": f"main{number}.handler" for number in range(6)}
    imports = ["odd" if number % 2 else "even" for number in range(6)]
    write(
        service.root / "app",
        {f"main{number}.py": f"import {name}, all{HANDLER}" for number, name in enumerate(imports)},
    )
    service.functions["f6"] = "fine.handler"
    write(service.root / "app", {"fine.py": HANDLER})

    starts = [message.partition(":")[0] for message in messages(service, store)]

    assert starts == [
        "`f0`, `f1`, `f2` and 3 more cannot import `all`",
        "`f0`, `f2`, `f4` cannot import `even`",
        "`f1`, `f3`, `f5` cannot import `odd`",
    ]


def test_no_wheel_is_read_without_bytecode(service: Service, store: Store) -> None:
    """Without bytecode, no import of a distribution is scanned, and unchanged sources are not scanned again."""
    service.add("outer", "1", {"outer.py": "import absent\n"})
    write(service.root / "app", {"main.py": f"import outer{HANDLER}"})

    assert messages(service, store) == []

    kept = sorted((store.root / "imports").rglob("*.json"))
    assert len(kept) == 1
    assert "outer.py" not in kept[0].read_text()
    before = kept[0].stat().st_mtime_ns
    service.comment = "another lock"
    assert messages(service, store) == []
    assert kept[0].stat().st_mtime_ns == before


def test_own_code_in_a_layer(service: Service, store: Store) -> None:
    """The imports of the service's own modules in a layer are followed like those of the function."""
    write(service.root / "app", {"shared/__init__.py": "", "shared/db.py": "import absent, alpha\n"})
    write(service.root / "functions/f", {"main.py": f"from shared import db{HANDLER}"})
    service.settings["layers.common"] = "{ first-party = true }"
    service.sources["f"] = '["functions/f/*"]'

    (message,) = messages(service, store)

    assert message.startswith("`f` cannot import `absent`: `main` → `shared.db` → `absent` (`shared/db.py`, line 1); ")


def test_module_elsewhere_in_the_repository(service: Service, store: Store) -> None:
    """A module of the repository that is outside the project is named with its path."""
    write(service.root / "app", {"main.py": f"import shared_code{HANDLER}"})
    write(service.root.parent, {".git/HEAD": "ref: refs/heads/main\n", "layers/tools/shared_code.py": ""})

    (message,) = messages(service, store)

    assert "; the module is `layers/tools/shared_code.py` in the repository, outside the project: lock its" in message
