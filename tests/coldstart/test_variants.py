"""Tests of variants without a distribution, and of the empty modules that replace it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from coldstart_layers import HANDLER, distribution
from lamina.coldstart.measure import conduct, start
from lamina.coldstart.study import compare
from lamina.coldstart.variants import needed_by, without
from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coldstart_layers import MakeSubjects
    from lamina.coldstart.measure import Measurement, Subject

_LAYER = (
    distribution("slow", {"slow/__init__.py": "import time\ntime.sleep(0.3)\n", "slow/deep.py": ""})
    | distribution("leaning-on", {"leaning.py": "import slow.deep\n"})
    | distribution("shared-a", {"spaces/a.py": ""})
    | distribution("shared-b", {"spaces/b.py": ""})
)
_OPTIONAL = f"try:\n    import slow\nexcept ImportError:\n    slow = None\n{HANDLER}"


def _measure(sides: Sequence[Subject], repeat: int) -> tuple[Measurement, ...]:
    return conduct(sides, repeat=repeat, traced=1, chance=random.Random(0))  # noqa: S311 - an order


def test_difference(make_subjects: MakeSubjects) -> None:
    """For an optional distribution, the comparison has a difference with an interval."""
    base = make_subjects(_OPTIONAL, _LAYER)
    with without(base, ["Slow"]) as hidden:
        measured = _measure([*base, *hidden], repeat=2)
    [comparison] = compare(measured)

    assert ("orders", "without slow", False) == (comparison.function, comparison.variant, comparison.stood_in)
    assert comparison.difference is not None
    assert comparison.difference.median > 100
    assert comparison.difference.low <= comparison.difference.median <= comparison.difference.high


def test_what_cannot_be_done_without(make_subjects: MakeSubjects) -> None:
    """For a required distribution, the comparison has the import chain, and a difference measured with empty modules."""
    code = f"import leaning, slow\nfrom slow import thing\nclass Kind(slow.Base): ...\n@slow.wrap\ndef work(): ...\nassert work\n{HANDLER}"
    layer = _LAYER | {
        "python/slow/__init__.py": "import time\ntime.sleep(0.3)\nthing = Base = object\nwrap = lambda f: f\n"
    }
    base = make_subjects(code, layer)
    with without(base, ["slow"]) as hidden:
        measured = _measure([*base, *hidden], repeat=2)
    [comparison] = compare(measured)

    assert ("app", "leaning", "slow.deep", "slow") == comparison.needed_by
    assert comparison.stood_in
    assert comparison.difference is not None
    assert comparison.difference.median > 100


def test_nothing_can_stand_in(make_subjects: MakeSubjects) -> None:
    """If the function does not start with empty modules either, the measurement keeps the first failure."""
    base = make_subjects(f"import slow\nassert slow.__file__\n{HANDLER}", _LAYER)
    with without(base, ["slow"]) as hidden:
        [found] = _measure(hidden, repeat=1)

    assert "Runtime.ImportModuleError: Unable to import module 'app': No module named 'slow'" == found.failure
    assert ("app", "slow") == needed_by(found)


def test_namespaces_keep_what_others_have(make_subjects: MakeSubjects) -> None:
    """Hiding one distribution of a namespace package keeps the files of the others."""
    base = make_subjects(f"import spaces.b\n{HANDLER}", _LAYER)
    with without(base, ["shared-a"]) as hidden:
        run = start(hidden[0].environment)
        files = {path.name for path in (hidden[0].environment.layer / "python" / "spaces").iterdir()}

    assert (None, {"b.py"}) == (run.failure, files)


def test_nothing_is_left(make_subjects: MakeSubjects) -> None:
    """The copy of the layer is deleted on exit, and the layer itself is unchanged."""
    base = make_subjects(HANDLER, _LAYER)
    with without(base, ["slow"]) as hidden:
        layer = hidden[0].environment.layer
        assert layer.is_dir()

    assert not layer.exists()
    assert (base[0].environment.layer / "python" / "slow" / "__init__.py").is_file()


def test_unknown_distributions(make_subjects: MakeSubjects) -> None:
    """The error lists all distributions that no layer contains, with the closest names."""
    base = make_subjects(HANDLER, _LAYER)
    with pytest.raises(ConfigError) as raised, without(base, ["slwo", "zzz"]):
        pass

    expected = "the layers of the functions to measure do not contain `slwo` (did you mean `slow`?), `zzz`"
    assert expected == str(raised.value)
