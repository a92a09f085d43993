"""
Choose the environment variables that build backends see.

A build runs code of the package that is built and of its build requirements. It gets what compilers and uv need, and no other variable:
no credentials of AWS, and no secrets of the CI job. uv hands its own variables on, so a backend can see the credentials of package indexes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lamina.core.environment import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMPILERS = (
    "CC CXX CPP AR AS LD LDSHARED RANLIB STRIP FC F77 F90 [A-Z]+FLAGS CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH LIBRARY_PATH "
    "PKG_CONFIG.* CMAKE_.* MACOSX_DEPLOYMENT_TARGET SDKROOT DEVELOPER_DIR CARGO_HOME RUSTUP_HOME RUSTUP_TOOLCHAIN GOROOT GOPATH "
    "JAVA_HOME XDG_.* NIX_.* VS.*COMNTOOLS INCLUDE LIB LIBPATH"
)
_NETWORK = "(HTTP|HTTPS|ALL|NO)_PROXY SSL_CERT_(FILE|DIR) REQUESTS_CA_BUNDLE CURL_CA_BUNDLE NETRC"
_BACKENDS = "SETUPTOOLS_.* HATCH_BUILD_.* PDM_BUILD_.* FLIT_.* SKBUILD_.* MATURIN_.*"
_KEPT = re.compile("|".join(f"{SYSTEM} {_COMPILERS} {_NETWORK} {_BACKENDS} UV_.*".split()), re.IGNORECASE)
_SECRET = re.compile(r"(.*_)?(TOKEN|SECRET|PASSWORD|PASSWD|PASS|PAT|CREDENTIALS?|AUTH|KEY|APIKEY)(_.*)?", re.IGNORECASE)
_OF_INDEXES = re.compile(r"UV_INDEX_.*|UV_CREDENTIALS_DIR|UV_KEYRING_PROVIDER")
_NEVER = re.compile(r"UV_PUBLISH_.*")


def build_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of *environ* that uv and build backends may see."""
    return {name: value for name, value in environ.items() if _may_be_seen(name)}


def _may_be_seen(name: str) -> bool:
    if _OF_INDEXES.fullmatch(name):
        return True
    return bool(_KEPT.fullmatch(name)) and not _SECRET.fullmatch(name) and not _NEVER.fullmatch(name)
