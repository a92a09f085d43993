"""Build the names of layers, descriptions of layer versions, and bucket keys. This module calls no AWS API."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.aws.api.account import Account
    from lamina.core.target import Target
    from lamina.core.values import Distribution, Pin

_MARK = "lamina:"
_DESCRIPTION = re.compile(re.escape(_MARK) + r"([0-9a-f]{64})(?: [^:]*? for ([^ :]+)(?=:|$)| |$)")
_OWN_KEY = re.compile(
    r"(?:parts|directories)/[0-9a-f]{64}|grafts/[0-9a-f]{32}|layers/[0-9a-f]{64}\.(?:zip|json)|functions/[0-9a-f]{64}\.zip"
    r"|claims/[0-9]{12}/[a-z0-9-]+/[a-zA-Z0-9_-]+/[0-9a-f]{64}"
)
_PLACEHOLDER = re.compile(r"\{([a-z-]*)\}")


def describe(
    digest: str, platform: str, distributions: Sequence[Distribution | Pin], *, service: str | None = None
) -> str:
    """
    Return the description of a layer version: digest and *service* for lamina, the platform and the distributions for people.

    The result never exceeds Lambda's length limit. Distributions that do not fit are only counted, as in "and 12 more".
    """
    limit, start = quotas().layer_description_characters, f"{_MARK}{digest} {platform}"
    named = start if service is None else f"{start} for {service}"
    start = named if len(named) <= limit else start
    return start + _listed([f"{each.name} {each.version}" for each in distributions], limit - len(start))


def _listed(names: Sequence[str], room: int) -> str:
    for count in range(len(names), 0, -1):
        left = len(names) - count
        text = ": " + ", ".join(names[:count]) + (f" and {left} more" if left else "")
        if len(text) <= room:
            return text
    return ""


def digest_in(description: str) -> str | None:
    """Return the digest in a *description* written by `describe`, or ``None`` if lamina did not write the description."""
    found = _DESCRIPTION.match(description)
    return found[1] if found else None


def service_in(description: str) -> str | None:
    """Return the service whose layer *description* describes, or ``None`` if it names none. See `describe`."""
    found = _DESCRIPTION.match(description)
    return found[2] if found else None


def plain_runtime(target: Target) -> str:
    """Return the runtime without dots, such as ``python313``, because Lambda allows no dots in layer names."""
    return target.runtime.replace(".", "")


def layer_name(template: str, *, service: str, layer: str, target: Target) -> str:
    """Replace the placeholders in *template*, and return the layer's name in Lambda."""
    replacements = {
        "service": service,
        "layer": layer,
        "runtime": plain_runtime(target),
        "architecture": str(target.architecture),
    }
    for placeholder, text in replacements.items():
        template = template.replace(f"{{{placeholder}}}", text)
    return template


def may_be_layer(name: str, template: str, *, service: str) -> bool:
    """Return whether *template* gives *name* to some layer of *service* on some target."""
    parts = _PLACEHOLDER.split(template)
    pattern = (
        re.escape(part) if number % 2 == 0 else re.escape(service) if part == "service" else "[A-Za-z0-9_-]+"
        for number, part in enumerate(parts)
    )
    return re.fullmatch("".join(pattern), name) is not None


def placeholders(template: str) -> tuple[str, ...]:
    """Return the names of the placeholders in *template*, such as ``region`` for ``{region}``."""
    return tuple(_PLACEHOLDER.findall(template))


def fill(template: str, account: Account, **names: str) -> str:
    """Replace ``{account}``, ``{region}`` and ``{partition}`` in *template*, and a placeholder for each keyword in *names*."""
    known = {"account": account.id, "region": account.region, "partition": account.partition} | names
    return _PLACEHOLDER.sub(lambda found: known[found[1]], template)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of lamina's objects in a bucket. All of them start with one prefix."""

    prefix: str
    """The prefix of all keys: empty, or a string that ends with a slash."""

    def is_ours(self, key: str) -> bool:
        """Return whether *key* has the form of a key that lamina writes."""
        rest = key.removeprefix(self.prefix)
        return key.startswith(self.prefix) and _OWN_KEY.fullmatch(rest) is not None

    def is_layer(self, key: str) -> bool:
        """Return whether *key* is the key of the zip of a layer or of a function package."""
        return self.is_ours(key) and key.endswith(".zip")

    def is_part(self, key: str) -> bool:
        """Return whether *key* is the key of a part."""
        return self.is_ours(key) and key.startswith(f"{self.prefix}parts/")

    def part(self, sha256: str) -> str:
        """Return the key of the part with this *sha256*. All layers that contain the part use the same object."""
        return f"{self.prefix}parts/{sha256}"

    def intermediate(self, name: str) -> str:
        """Return the key of a temporary object, which exists only while lamina copies a part. *name* is random."""
        return f"{self.prefix}grafts/{name}"

    def is_directory(self, key: str) -> bool:
        """Return whether *key* is the key of an entry of the remote index."""
        return self.is_ours(key) and key.startswith(f"{self.prefix}directories/")

    def below(self, key: str) -> str:
        """Return *key* with the prefix before it."""
        return f"{self.prefix}{key}"

    def directory(self, name: str) -> str:
        """Return the key of the entry *name* in the remote index. With the index, lamina builds layers without downloading wheels."""
        return f"{self.prefix}directories/{name}"

    def layer(self, digest: str) -> str:
        """Return the key of the zip of the layer with this *digest*."""
        return f"{self.prefix}layers/{digest}.zip"

    def record(self, digest: str) -> str:
        """Return the key of the record of the layer with this *digest*."""
        return f"{self.prefix}layers/{digest}.json"

    def package(self, sha256: str) -> str:
        """Return the key of the function package with this *sha256*. Only packages that are too large for an API call are uploaded."""
        return f"{self.prefix}functions/{sha256}.zip"

    def referenced(self, sha256: str) -> str:
        """
        Return the key of the function package with this *sha256* that Lambda reads from the bucket.

        The key is not one of `is_ours`, so that lamina never deletes the object.
        """
        return f"{self.prefix}code/{sha256}.zip"

    def lease(self, account: Account, name: str, digest: str) -> str:
        """Return the key of the lease with which one publisher at a time publishes the layer *name* with this *digest* in *account*."""
        return f"{self.prefix}claims/{account.id}/{account.region}/{name}/{digest}"
