"""The changes as JSON, for programs; docs/reference/diff-report.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.frozen import as_dict

if TYPE_CHECKING:
    from lamina.audit.diff.values import (
        ArchiveChanges,
        ComparedArchive,
        ComparedDistribution,
        FileChanges,
        ImportChanges,
        SideChanges,
    )

VERSION = "1"


def document(changes: SideChanges) -> dict[str, object]:
    """Return the changes as JSON values. Fields may be added within a version; no field changes its meaning."""
    vulnerabilities = changes.vulnerabilities
    return {
        "version": VERSION,
        "before": changes.before.name,
        "after": changes.after.name,
        "archives": [_archive(each) for each in changes.archives],
        "cold_starts": None if changes.starts is None else [as_dict(each) for each in changes.starts],
        "vulnerabilities": None
        if vulnerabilities is None
        else {
            "new": [each.document() for each in vulnerabilities.new],
            "gone": [each.document() for each in vulnerabilities.gone],
        },
        "differs": bool(changes.changed),
    }


def _archive(change: ArchiveChanges) -> dict[str, object]:
    subject = change.subject
    return {
        "kind": subject.kind.value,
        "name": subject.name,
        "target": subject.target or None,
        "changed": change.reason is not None,
        "reason": change.reason,
        "before": _side(change.before),
        "after": _side(change.after),
        "distributions": [
            {
                "name": each.name,
                "difference": each.difference.value,
                "before": _distribution(each.before),
                "after": _distribution(each.after),
            }
            for each in change.distributions
        ],
        "files": None if change.files is None else _files(change.files),
        "imports": _imports(change.imports),
    }


def _side(archive: ComparedArchive | None) -> dict[str, object] | None:
    if archive is None:
        return None
    found = archive.provenance
    return {
        "name": archive.name,
        "digest": archive.digest,
        "sha256": archive.sha256,
        **({} if archive.sizes is None else as_dict(archive.sizes)),
        "provenance": None
        if found is None
        else {
            "verified": bool(found),
            "problem": found.problem,
            "commit": None if found.provenance is None else found.provenance.commit,
            "modified": None if found.provenance is None else found.provenance.is_modified,
        },
    }


def _distribution(distribution: ComparedDistribution | None) -> dict[str, object] | None:
    if distribution is None:
        return None
    return {
        "version": distribution.version,
        "sha256": distribution.sha256,
        "unzipped_bytes": distribution.unzipped_bytes,
    }


def _files(files: FileChanges) -> dict[str, object]:
    moved = [{"before": before, "after": after} for before, after in files.moved]
    return as_dict(files) | {"moved": moved}


def _imports(changes: ImportChanges | None) -> dict[str, object] | None:
    if changes is None:
        return None
    return {
        "new": [{"distribution": name, "module": module} for name, module in changes.new],
        "gone": [{"distribution": name, "module": module} for name, module in changes.gone],
        "new_distributions": list(changes.new_distributions),
        "gone_distributions": list(changes.gone_distributions),
    }
