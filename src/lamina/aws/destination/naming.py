"""What things are called in AWS: layers, descriptions, keys, parameters. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.aws.api.account import Account
    from lamina.core.target import Target
    from lamina.core.values import Distribution

_MARK = "lamina:"
_DESCRIPTION = re.compile(re.escape(_MARK) + r"([0-9a-f]{64})(?: |$)")
_OWN_KEY = re.compile(
    r"(?:parts|directories)/[0-9a-f]{64}|grafts/[0-9a-f]{32}|layers/[0-9a-f]{64}\.(?:zip|json)|functions/[0-9a-f]{64}\.zip"
    r"|claims/[0-9]{12}/[a-z0-9-]+/[a-zA-Z0-9_-]+/[0-9a-f]{64}"
)
_PLACEHOLDER = re.compile(r"\{([a-z-]*)\}")


def describe(digest: str, platform: str, distributions: Sequence[Distribution]) -> str:
    """
    Return the description of a version: the digest for lamina, and after it what people want to know.

    It is as long as Lambda allows at most; names that have no room are counted.
    """
    start = f"{_MARK}{digest} {platform}"
    room = quotas().layer_description_characters - len(start)
    return start + _listed([f"{each.name} {each.version}" for each in distributions], room)


def _listed(names: Sequence[str], room: int) -> str:
    for count in range(len(names), 0, -1):
        left = len(names) - count
        text = ": " + ", ".join(names[:count]) + (f" and {left} more" if left else "")
        if len(text) <= room:
            return text
    return ""


def digest_in(description: str) -> str | None:
    """Return the digest that `describe` wrote into *description*, or ``None`` for what others published."""
    found = _DESCRIPTION.match(description)
    return found[1] if found else None


def plain_runtime(target: Target) -> str:
    """Return the runtime as a part of names: Lambda takes no dots in them."""
    return target.runtime.replace(".", "")


def layer_name(template: str, *, service: str, layer: str, target: Target) -> str:
    """Return what *layer* of *service* is called in Lambda."""
    replacements = {
        "service": service,
        "layer": layer,
        "runtime": plain_runtime(target),
        "architecture": str(target.architecture),
    }
    for placeholder, text in replacements.items():
        template = template.replace(f"{{{placeholder}}}", text)
    return template


def placeholders(template: str) -> tuple[str, ...]:
    """Return the names in braces that *template* has."""
    return tuple(_PLACEHOLDER.findall(template))


def fill(template: str, account: Account, **names: str) -> str:
    """Return *template* with ``{account}``, ``{region}``, ``{partition}`` and *names* replaced."""
    known = {"account": account.id, "region": account.region, "partition": account.partition} | names
    return _PLACEHOLDER.sub(lambda found: known[found[1]], template)


@dataclass(frozen=True, slots=True)
class Keys:
    """Where in the bucket things are, below one prefix."""

    prefix: str
    """What all of them begin with: empty, or ending with a slash."""

    def is_ours(self, key: str) -> bool:
        """Return whether *key* is one that lamina writes."""
        rest = key.removeprefix(self.prefix)
        return key.startswith(self.prefix) and _OWN_KEY.fullmatch(rest) is not None

    def is_layer(self, key: str) -> bool:
        """Return whether *key* is that of a whole layer, or of a function's package."""
        return self.is_ours(key) and key.endswith(".zip")

    def is_part(self, key: str) -> bool:
        """Return whether *key* is that of a part."""
        return self.is_ours(key) and key.startswith(f"{self.prefix}parts/")

    def part(self, sha256: str) -> str:
        """Of a part: named by its content, so that it is uploaded once, whatever layer it is in."""
        return f"{self.prefix}parts/{sha256}"

    def intermediate(self, name: str) -> str:
        """Of what a part copy makes on the way to a part, and deletes then: *name* is random."""
        return f"{self.prefix}grafts/{name}"

    def is_directory(self, key: str) -> bool:
        """Return whether *key* is that of something in the remote index."""
        return self.is_ours(key) and key.startswith(f"{self.prefix}directories/")

    def below(self, key: str) -> str:
        """Return the whole key of what has *key* below the prefix."""
        return f"{self.prefix}{key}"

    def directory(self, name: str) -> str:
        """Of something in the remote index: what has to be known of a segment, or of wheels, to do without them."""
        return f"{self.prefix}directories/{name}"

    def layer(self, digest: str) -> str:
        """Of a whole layer."""
        return f"{self.prefix}layers/{digest}.zip"

    def record(self, digest: str) -> str:
        """Of what is known about a layer."""
        return f"{self.prefix}layers/{digest}.json"

    def package(self, sha256: str) -> str:
        """Of a function's package that is too large for a call."""
        return f"{self.prefix}functions/{sha256}.zip"

    def lease(self, account: Account, name: str, digest: str) -> str:
        """Of the lease of whoever is publishing."""
        return f"{self.prefix}claims/{account.id}/{account.region}/{name}/{digest}"
