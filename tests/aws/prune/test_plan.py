"""Tests of the pruning plan: used, recent, newest, guarded and foreign versions are never deleted."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from lamina.aws.api.account import Account
from lamina.aws.api.functions import unversioned
from lamina.aws.api.layers import LayerVersion
from lamina.aws.api.s3 import Listed, Unfinished
from lamina.aws.destination.naming import Keys
from lamina.aws.prune.plan import (
    DeleteVersion,
    KeepVersion,
    NeededVersions,
    RetentionRules,
    left_over,
    plan,
    unneeded,
)
from lamina.aws.prune.present import NO_PROJECT
from lamina.aws.publish.layer_record import LayerRecord

NOW = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
KEYS = Keys("lamina/")
DAY = 86_400
OURS = f"lamina:{'0' * 64} python3.13 on arm64"


def row(number: int, *, name: str = "common", days: float = 100, description: str = OURS) -> LayerVersion:
    return LayerVersion(
        name=name,
        number=number,
        arn=f"arn:aws:lambda:eu-west-1:123456789012:layer:{name}:{number}",
        description=description,
        created=NOW - dt.timedelta(days=days),
    )


def deleted(
    *rows: LayerVersion, used: tuple[str, ...] = (), guarded: tuple[str, ...] = (), keep: int = 1, days: float = 0
) -> list[int]:
    needed = NeededVersions(used=used, guarded=guarded, named={}, project=NO_PROJECT)
    actions = plan(rows, needed=needed, rules=RetentionRules(keep=keep, keep_days=days), now=NOW)
    return [action.version.number for action in actions if isinstance(action, DeleteVersion)]


def test_newest_are_kept() -> None:
    """The requested number of newest versions of each layer is kept, and at least one."""
    rows = [row(number) for number in (1, 2, 3, 4)]

    assert [2, 1] == deleted(*rows, keep=2)
    assert [3, 2, 1] == deleted(*rows, keep=0)


def test_young_are_kept() -> None:
    """Versions published less than the requested number of days ago are kept."""
    assert [1] == deleted(row(1, days=11), row(2, days=9), row(3, days=1), days=10)


def test_guarded_are_kept() -> None:
    """All versions of a layer that a stack may roll back to are kept."""
    assert [] == deleted(row(1), row(2), guarded=(unversioned(row(1).arn),))


def test_others_are_kept() -> None:
    """Versions that lamina did not publish are kept, and are not counted among the newest."""
    assert [1] == deleted(row(1), row(2), row(3, description="by hand"), keep=1)


def test_reasons() -> None:
    """Each version has a reason for being kept or deleted."""
    rows = (row(1), row(2), row(3, days=1), row(4))
    needed = NeededVersions(used=(row(1).arn,), guarded=(), named={}, project=NO_PROJECT)
    actions = plan(rows, needed=needed, rules=RetentionRules(keep=1, keep_days=7), now=NOW)

    assert [
        "among the newest 1 version",
        "published less than 7 days ago",
        "not used by any version of any function",
        "used by a function",
    ] == [action.reason for action in actions]


rows = st.lists(
    st.builds(
        row,
        st.integers(1, 40),
        name=st.sampled_from(["common", "reporting"]),
        days=st.floats(0, 400),
        description=st.sampled_from([OURS, "by hand"]),
    ),
    max_size=60,
    unique_by=lambda each: each.arn,
)


@given(rows=rows, data=st.data(), keep=st.integers(0, 50), days=st.floats(0, 400))
def test_needed_is_never_deleted(rows: list[LayerVersion], data: st.DataObject, keep: int, days: float) -> None:
    """A version that a function uses or a parameter names is never deleted, and every version has an action, for all rules."""
    arns = [each.arn for each in rows]
    subsets = st.sets(st.sampled_from(arns)) if arns else st.just(set[str]())
    used, named = data.draw(subsets), data.draw(subsets)
    needed = NeededVersions(used=used, guarded=(), named=dict.fromkeys(named, "/layers/common"), project=NO_PROJECT)
    actions = plan(rows, needed=needed, rules=RetentionRules(keep=keep, keep_days=days), now=NOW)
    going = [action.version for action in actions if isinstance(action, DeleteVersion)]
    staying = [action.version for action in actions if isinstance(action, KeepVersion)]

    assert not (used | named) & {each.arn for each in going}
    assert sorted(arns) == sorted(each.arn for each in (*going, *staying))
    assert all((NOW - each.created).total_seconds() >= days * DAY for each in going)
    assert all(each.description == OURS for each in going)
    for each in going:
        newer = [other for other in rows if other.name == each.name and other.number > each.number]
        assert sum(other.description == OURS for other in newer) >= max(1, keep)


def record(digest: str, *parts: str, directories: tuple[str, ...] = ()) -> LayerRecord:
    return LayerRecord(
        digest=digest,
        sha256="0" * 64,
        zipped_bytes=1,
        platform="",
        distributions=(),
        parts=parts,
        directories=directories,
    )


A, B, C = "a" * 64, "b" * 64, "c" * 64
LEASE = KEYS.lease(Account(id="123456789012", partition="aws", region="eu-west-1"), "shop-common", A)


def listed(*keys: str, age: float = 2 * DAY) -> list[Listed]:
    return [Listed(key=key, size=1, age_seconds=age) for key in keys]


def going(objects: list[Listed], *, records: list[LayerRecord] | None, keep_layers: bool = False) -> list[str]:
    return [each.key for each in unneeded(objects, kept={A}, records=records, keys=KEYS, keep_layers=keep_layers)]


def test_objects() -> None:
    """Parts and layers that kept layers need are kept; lamina's other objects are deleted."""
    objects = listed(
        KEYS.part(B), KEYS.part(C), KEYS.layer(A), KEYS.layer(B), KEYS.record(A), KEYS.record(B), KEYS.package(B),
        LEASE, "lamina/notes.txt", "lamina/claims/1/eu-west-1/common/x", "else/parts/" + B,
    )  # fmt: skip

    assert [KEYS.part(C), KEYS.layer(B), KEYS.record(B), KEYS.package(B), LEASE] == going(
        objects, records=[record(A, B)]
    )


def test_unfinished_uploads() -> None:
    """Unfinished uploads of lamina are deleted after a day; uploads of other programs below the prefix are not."""
    uploads = [
        Unfinished(key=key, id=key, age_seconds=age)
        for key, age in ((KEYS.layer(A), DAY), (KEYS.layer(B), DAY - 1), (KEYS.part(C), DAY), ("lamina/notes", DAY))
    ]

    assert [KEYS.layer(A), KEYS.part(C)] == [each.key for each in left_over(uploads, KEYS)]


def test_directories() -> None:
    """Central directories that kept layers need are kept; they are deleted with the last layer that needs them."""
    objects = listed(KEYS.directory(B), KEYS.directory(C))

    assert [KEYS.directory(C)] == going(objects, records=[record(A, directories=(B,))])
    assert [KEYS.directory(B), KEYS.directory(C)] == going(objects, records=[])
    assert [] == going(objects, records=None)


def test_young_objects() -> None:
    """Objects less than a day old are kept, because they may belong to a layer that is being published."""
    assert [] == going(listed(KEYS.part(C), LEASE, age=DAY - 1), records=[])


def test_layers_by_reference() -> None:
    """If Lambda reads layers from the bucket, no layer is deleted, because a function may still use a deleted version."""
    assert [KEYS.part(C)] == going(listed(KEYS.layer(B), KEYS.part(C)), records=[], keep_layers=True)


def test_unknown_parts() -> None:
    """If the needed parts are unknown, all parts are kept."""
    assert [KEYS.layer(B)] == going(listed(KEYS.layer(B), KEYS.part(C)), records=None)
