"""Write package URLs, by which scanners and statements of provenance name distributions. Specification: ECMA-427 (2025-12)."""

from __future__ import annotations

from urllib.parse import quote


def purl(name: str, version: str | None = None, *, subpath: str | None = None, **qualifiers: str | None) -> str:
    """
    Return the package URL of the distribution *name*, normalised, in *version*; it is the same for the same arguments.

    *subpath* is the directory of the project in the distribution. *qualifiers* without a value are left out. Those that the type ``pypi`` defines include ``file_name`` and ``repository_url``.
    """
    given = sorted((key, value) for key, value in qualifiers.items() if value)
    query = "&".join(f"{key}={quote(value, safe=':')}" for key, value in given)
    return "".join(
        (
            f"pkg:pypi/{quote(name, safe='')}",
            f"@{quote(version, safe='')}" if version else "",
            f"?{query}" if query else "",
            f"#{quote(subpath.strip('/'))}" if subpath else "",
        )
    )
