"""The comparison as a JSON document of version "1", which docs/how-to/choose-packaging.md describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.advise.values import NoSplit

if TYPE_CHECKING:
    from lamina.advise.advice import PackagingAdvice
    from lamina.advise.deploys import Deploy
    from lamina.advise.rows import ComparedLayout, FunctionSize
    from lamina.advise.values import Layout
    from lamina.advise.why import Reason
    from lamina.core.target import Target

_VERSION = "1"


def document(advice: PackagingAdvice) -> dict[str, Any]:
    """Return *advice* as JSON values. Sizes are in bytes, times in milliseconds or seconds."""
    found = advice.recommendation
    return {
        "version": _VERSION,
        "service": advice.service,
        "target": _target(advice.target),
        "environments": advice.environments,
        "uplink_bits_per_second": advice.uplink_bits,
        "limits": {
            "unzipped_bytes": advice.limits.unzipped_bytes,
            "layers": advice.limits.layers,
            "console_bytes": advice.limits.console_bytes,
            "code_storage_bytes": advice.limits.code_storage_bytes,
        },
        "history": {
            "updates": len(advice.history.bumps),
            "lock_file_changes": advice.history.revisions,
            "deploys_per_year": None
            if advice.deploys is None
            else {"edits": advice.deploys.edits, "updates": advice.deploys.bumps},
        },
        "distributions": [
            {
                "name": each.name,
                "version": each.version,
                "zipped_bytes": each.zipped_bytes,
                "unzipped_bytes": each.unzipped_bytes,
                "functions": [need.function for need in advice.needs.functions if each.name in need.distributions],
            }
            for each in advice.needs.distributions
        ],
        "layouts": [_row(each, advice) for each in advice.rows],
        "recommendation": {
            "layout": None if found.layout is None else _layout(found.layout),
            "reasons": list(found.reasons),
            "missing": [{"text": each.text, "command": each.command} for each in found.missing],
            "alternatives": [{"layout": _layout(each.layout), "text": each.text} for each in found.alternatives],
            "left_out": list(found.left_out),
            "split_gap": None if isinstance(found.split, NoSplit) else found.split.gap,
        },
    }


def reason_document(reason: Reason) -> dict[str, Any]:
    """Return why functions need a distribution as JSON values."""
    return {
        "version": _VERSION,
        "distribution": {"name": reason.distribution, "version": reason.version},
        "required_by_project": reason.is_direct,
        "required_by": list(reason.required_by),
        "functions": [
            {
                "name": each.function,
                "modules": list(each.chain),
                "path": None if each.imported is None else each.imported.path,
                "line": None if each.imported is None else each.imported.line,
                "distributions": list(each.distributions),
                "required_from": each.required_from,
            }
            for each in reason.explanations
        ],
    }


def _target(target: Target) -> dict[str, str]:
    return {"runtime": target.runtime, "architecture": str(target.architecture)}


def _row(each: ComparedLayout, advice: PackagingAdvice) -> dict[str, Any]:
    costs = each.costs
    stored = None if costs is None or advice.deploys is None else costs.year(advice.deploys)
    return {
        "kind": each.kind.value,
        "title": each.title,
        "configured": each.is_configured,
        "obstacle": each.obstacle or None,
        "note": each.note or None,
        "layout": None if each.layout is None else _layout(each.layout),
        "archives": [
            {
                "kind": archive.kind.value,
                "name": archive.name,
                "functions": list(archive.functions),
                "zipped_bytes": archive.zipped_bytes,
                "unzipped_bytes": archive.unzipped_bytes,
            }
            for archive in each.archives
        ],
        "deploys": None
        if costs is None
        else {
            name: _deploy(deploy, advice)
            for name, deploy in (
                ("first", costs.first),
                ("edit", costs.edit),
                ("update", costs.bump),
                ("largest_update", costs.worst_bump),
            )
        },
        "stored_bytes_per_year": stored,
        "stored_bytes_per_year_all_environments": None if stored is None else stored * advice.environments,
        "largest_function": None if each.largest is None else _size(each.largest),
        "functions": [_size(size) for size in each.functions],
        "editable_functions": None if each.editable is None else list(each.editable),
        "versioned": each.versioned,
        "slowest_start": None
        if each.start is None
        else {"milliseconds": each.start.milliseconds, "source": each.start.source},
    }


def _size(size: FunctionSize) -> dict[str, Any]:
    return {"name": size.name, "unzipped_bytes": size.unzipped_bytes, "is_least": size.is_least}


def _deploy(deploy: Deploy, advice: PackagingAdvice) -> dict[str, Any]:
    return {
        "sent_bytes": deploy.sent,
        "sent_bytes_all_environments": deploy.sent * advice.environments,
        "seconds": round(deploy.sent * 8 / advice.uplink_bits, 1),
        "stored_bytes": deploy.stored,
    }


def _layout(layout: Layout) -> dict[str, Any]:
    return {
        "title": layout.title,
        "layers": [{"name": each.name, "distributions": sorted(each.distributions)} for each in layout.layers],
        "functions": [
            {"name": each.name, "packaging": each.packaging.value, "layers": list(each.layers)}
            for each in layout.functions
        ],
    }
