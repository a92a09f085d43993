"""``lamina-layers.lock``: what is written is read again, and every mistake is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import ConfigError, InvalidConfigError
from lamina.project.pinned import LOCK_NAME, ExternalContents, PinnedLayer, is_pinnable, read_pins, write_pins

if TYPE_CHECKING:
    from pathlib import Path

ARN = "arn:aws:lambda:eu-west-1:123456789012:layer:tools:7"
HASH = "A" * 43 + "="


def pinned(arn: str = ARN, **more: tuple[str, ...] | str) -> PinnedLayer:
    return PinnedLayer(
        arn=arn,
        code_sha256=HASH,
        code_size=3,
        contents=ExternalContents(unzipped_bytes=0),
        **more,  # type: ignore[arg-type]
    )


def test_written_and_read(tmp_path: Path) -> None:
    """All values survive, in an order that does not depend on the caller, and without pins there is no file."""
    full = PinnedLayer(
        arn=ARN,
        code_sha256=HASH,
        code_size=3,
        runtimes=("python3.13",),
        architectures=("arm64",),
        license='a "quoted"\nlicence \x7f',
        contents=ExternalContents(
            unzipped_bytes=9,
            modules=("a.b", "c"),
            site_modules=(("3.12", ("d",)), ("3.13", ("e", "f"))),
            extensions=("agent",),
        ),
    )
    other = pinned(ARN.replace("tools", "more"))

    write_pins(tmp_path, [full, other])
    first = (tmp_path / LOCK_NAME).read_bytes()
    assert read_pins(tmp_path) == (other, full)
    write_pins(tmp_path, [other, full])
    assert first == (tmp_path / LOCK_NAME).read_bytes()
    assert b"runtimes" not in first.partition(b"[[layer]]")[2].partition(b"[[layer]]")[0]

    write_pins(tmp_path, [])
    assert () == read_pins(tmp_path)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("row", "mistake"),
    [
        ("", "layer[0].arn: missing required key"),
        (f'arn = "{ARN}"', "layer[0].code_size: missing required key"),
        ('arn = "arn:aws:lambda:eu-west-1:123456789012:layer:tools"', "is not the ARN of a layer version"),
        ('arn = "arn:*:lambda:eu-west-1:123456789012:layer:tools:7"', "is not the ARN of a layer version"),
        ('arn = "arn:aws:lambda:*:123456789012:layer:tools:7"', "is not the ARN of a layer version"),
        ('code_sha256 = "AAAA"', "layer[0].code_sha256: `AAAA` is not a SHA-256 in base64"),
        ('code_sha256 = "ö"', "layer[0].code_sha256: `ö` is not a SHA-256 in base64"),
        ("code_size = -1", "layer[0].code_size: expected a number of bytes"),
        ('unzipped_bytes = "1"', "layer[0].unzipped_bytes: expected an integer, found a string"),
        ("modules = [1]", "layer[0].modules: expected a list of strings"),
        ('site_modules = { "3" = [] }', "layer[0].site_modules.3: expected a minor version of Python"),
        ("module = []", "layer[0].module: unknown key"),
    ],
)
def test_mistakes(tmp_path: Path, row: str, mistake: str) -> None:
    """Values of other types, missing keys and unknown ones are mistakes."""
    (tmp_path / LOCK_NAME).write_text(f"version = 1\n[[layer]]\n{row}\n", encoding="utf-8")

    with pytest.raises(InvalidConfigError) as caught:
        read_pins(tmp_path)
    assert mistake in str(caught.value)
    assert "`lamina pin`" in (caught.value.hint or "")


def test_one_layer_twice(tmp_path: Path) -> None:
    """Two entries for one layer version are a mistake: nothing says which of them counts."""
    write_pins(tmp_path, [pinned(ARN), pinned(ARN)])

    with pytest.raises(InvalidConfigError) as caught:
        read_pins(tmp_path)
    assert f"layer[1].arn: `{ARN}` is in the file twice" in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[[layer", b"version = 2", b"", b"version = 1\nlayers = []"])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    """A file of another format or version is an error that says how to go on."""
    (tmp_path / LOCK_NAME).write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        read_pins(tmp_path)
    assert f"`{LOCK_NAME}`" in str(caught.value)
    assert "version control" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("arn", "pinnable"),
    [
        (ARN, True),
        ("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:layer:tools:7", True),
        (ARN.rpartition(":")[0], False),
        ("arn:aws:lambda:::awslayer:AmazonLinux1803", False),
        (f"{ARN}:8", False),
        (ARN.replace("eu-west-1", "*"), True),
        (ARN.replace("eu-west-1", "-"), False),
        (ARN.replace(":7", ":*"), False),
    ],
)
def test_pinnable(arn: str, *, pinnable: bool) -> None:
    """Only a version of a layer in an account can be downloaded."""
    assert pinnable == is_pinnable(arn)
