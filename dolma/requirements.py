"""What a recipe needs of this machine: findings, and the packages of extras."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dolma.errors import ConfigError

_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a recipe needs: what, whether it is there, and if not the command that gets it."""

    what: str
    ok: bool
    get: str = ""


def extra_finding(extra: str, *, purpose: str) -> Finding:
    """Whether the packages of an extra are installed."""
    missing = missing_of_extra(extra)
    what = f"{purpose}: extra {extra}" + (f" ({', '.join(missing)})" if missing else "")
    return Finding(what=what, ok=not missing, get=f"pip install 'dolma[{extra}]'")


def missing_of_extra(extra: str) -> list[str]:
    """The packages of an extra that are not installed.

    Raises:
        ConfigError: the package has no such extra.
    """
    from importlib.metadata import requires

    wanted = [
        match[0]
        for requirement in requires("dolma") or []
        if (of := _EXTRA.search(requirement))
        and _usual(of[1]) == _usual(extra)
        and (match := _REQUIREMENT.match(requirement))
    ]
    if not wanted:
        raise ConfigError(
            f"there is no extra {extra!r}\n  name one that stands in pyproject.toml under `optional-dependencies`"
        )
    return [package for package in wanted if not _installed(package)]


def _usual(name: str) -> str:
    """A name as packaging compares it (PEP 503): metadata may have `a-b` for `a_b`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
