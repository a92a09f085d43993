"""
Compare the developer's environment with the layers, distribution by distribution and file by file.

=========================  ========  ============================================================================
rule                       severity  reported if
=========================  ========  ============================================================================
``environment-python``     error     the environment has another Python than the runtime
``environment-version``    error     a distribution has another version than in a layer
``environment-file``       error     a file is not that of the wheel
``environment-missing``    error     a distribution of a layer is not installed
``environment-extra``      warning   code can import something here that neither the layers nor the lock file have
``environment-explained``  note      the configuration, the lock file or the platform explains other differences
=========================  ========  ============================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.audit.inspection import Inspection
    from lamina.core.values import Finding


def check(inspection: Inspection) -> Iterable[Finding]:
    """
    Return how the environment of *inspection* differs from the layers; nothing if no comparison is asked for.

    Raises `ConfigError` if there is no environment, `DamagedOutputError` if a layer was damaged after it was written, and
    the errors of `lamina.lock.formats.find`.
    """
    if inspection.venv is None:
        return ()
    # Most checks compare no environment, and these imports take longer than many of them.
    from lamina.audit.environment.comparison import compare

    return tuple(compare(inspection, inspection.venv))
