"""Open the database of advisories that the configuration or the command line names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lamina.audit.vulnerabilities.indexjson import IndexAdvisories
from lamina.audit.vulnerabilities.inspector import InspectorAdvisories
from lamina.audit.vulnerabilities.osv import OsvService
from lamina.audit.vulnerabilities.osvzip import OsvZip
from lamina.audit.vulnerabilities.values import NoAdvisories
from lamina.core.errors import ConfigError, OfflineError
from lamina.fetch.http import Client

if TYPE_CHECKING:
    from lamina.audit.inventory.origins import LockedOrigins
    from lamina.audit.vulnerabilities.settings import AuditSettings
    from lamina.audit.vulnerabilities.values import Advisories
    from lamina.core.store import Store
    from lamina.fetch.settings import IndexSettings

_HINT = "download OSV's zip for PyPI where there is a network, then run `lamina audit --offline --osv FILE`"


def open_database(
    settings: AuditSettings, origins: LockedOrigins, *, store: Store, offline: bool = False
) -> Advisories:
    """
    Return the database that *settings* name.

    *origins* have the address of the package index, and the credentials for the hosts, of which each receives only its own. Raises
    `OfflineError` if the database needs a network that *offline* forbids, `ConfigError` if an address or the settings of the indexes are
    invalid, and the errors of `lamina.aws.api.session.Access.connect`.
    """
    name, osv = settings.advisories, settings.osv
    if name == "none":
        return NoAdvisories()
    if name == "osv" and osv is not None and "://" not in osv:
        return OsvZip(Path(osv))
    if offline:
        raise OfflineError("`--offline` prevents asking a database of advisories", hint=_HINT)
    if name == "inspector":
        # Slow to import.
        from lamina.aws.api.session import Access

        return InspectorAdvisories(Access().connect().inspector)
    index = origins.settings
    client = Client(index.credentials, certificates=index.certificates)
    if name == "index":
        return IndexAdvisories(client, origins.default)
    return OsvService(client, store, url=None if osv is None else _address(osv, index))


def _address(url: str, settings: IndexSettings) -> str:
    """Return *url* without its credentials, which *settings* learn. Raises `ConfigError` if it is no address of the web."""
    try:
        clean = settings.credentials.learn(url)
    except ValueError:
        clean = ""
    if not clean.startswith(("https://", "http://")):
        raise ConfigError(
            "the address of OSV is not a valid `https://` URL", hint="check `--osv` and `osv` in `[tool.lamina.audit]`"
        )
    return clean
