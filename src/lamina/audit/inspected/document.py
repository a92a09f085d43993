"""The report of `lamina inspect` as JSON values; docs/reference/inspect-report.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.frozen import as_dict

if TYPE_CHECKING:
    from lamina.audit.inspected.inspect import InspectedArchive, InspectionReport
    from lamina.audit.inspected.shadowing import Shadowed
    from lamina.audit.inventory.contents import ContainedDistribution
    from lamina.pipeline.provenance import Provenance, Verification

VERSION = "1"


def document(report: InspectionReport) -> dict[str, object]:
    """Return *report* as JSON values. Fields may be added within a version; no field changes its meaning."""
    function = report.subject.function
    return {
        "version": VERSION,
        "function": None
        if function is None
        else {
            "name": function.name,
            "version": function.version,
            "runtime": function.settings.runtime,
            "architecture": function.architecture,
            "handler": function.settings.handler,
            "layers": list(function.settings.layers),
        },
        "archives": [_archive(each) for each in report.archives],
        "shadowed": [_shadowed(each) for each in report.shadowed],
        "audit": None if report.answer is None else report.answer.document(),
        "errors": [each.document() for each in report.subject.failures],
        "notes": list(report.notes),
    }


def _archive(archive: InspectedArchive) -> dict[str, object]:
    contents, fitness = archive.contents, archive.fitness
    return {
        "name": archive.zip.name,
        "arn": archive.zip.arn,
        "publisher": archive.publisher.name if archive.publisher is not None else None,
        "sha256": contents.sha256,
        "zipped_bytes": contents.zipped_bytes,
        "unzipped_bytes": contents.unzipped_bytes,
        "files": contents.files,
        "is_layer": contents.is_layer,
        "runtimes": list(archive.zip.runtimes),
        "architectures": list(archive.zip.architectures),
        "license": archive.zip.license,
        "distributions": [_distribution(each) for each in contents.distributions],
        "identified": [as_dict(each) | {"exact": each.is_exact} for each in archive.matches],
        "modules_without_metadata": list(archive.unmatched_modules),
        "unexplained_files": list(archive.unexplained),
        "changed_files": list(archive.files.changed),
        "extensions": list(contents.extensions),
        "wrappers": list(contents.wrappers),
        "handlers": [
            {"vendor": each.vendor, "handler": each.handler, "variable": each.variable} for each in archive.handlers
        ],
        "binaries": {"machines": dict(fitness.machines), "glibc": fitness.glibc},
        "bytecode": [as_dict(each) for each in fitness.bytecode],
        "problems": list(fitness.problems),
        "provenance": _provenance(archive.provenance),
        "in_lock": [as_dict(each) for each in archive.locked],
    }


def _shadowed(shadowed: Shadowed) -> dict[str, object]:
    hidden = [as_dict(each) for each in shadowed.hidden]
    return as_dict(shadowed) | {"used": as_dict(shadowed.used), "hidden": hidden}


def _provenance(verification: Verification | None) -> dict[str, object] | None:
    if verification is None:
        return None
    statement = None if verification.provenance is None else _statement(verification.provenance)
    return {"verified": bool(verification), "problem": verification.problem, "statement": statement}


def _statement(provenance: Provenance) -> dict[str, object]:
    return {
        "build_type": provenance.kind,
        "sha256": provenance.sha256,
        "digest": provenance.digest,
        "lamina": provenance.lamina,
        "commit": provenance.commit,
        "repository": provenance.repository,
        "modified": provenance.is_modified,
        "runtime": provenance.runtime,
        "materials": [as_dict(each) for each in (provenance.lock, *provenance.materials)],
    }


def _distribution(distribution: ContainedDistribution) -> dict[str, object]:
    return {
        "name": distribution.name,
        "version": distribution.version,
        "license": distribution.licence,
        "license_classifiers": list(distribution.classifiers),
        "directory": distribution.root,
        "files": len(distribution.files),
        "bytes": distribution.size,
        "modules": list(distribution.modules),
        "has_record": distribution.record,
        "missing_files": list(distribution.missing),
        "sboms": list(distribution.sboms),
    }
