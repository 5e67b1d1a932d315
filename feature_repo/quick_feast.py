"""Feast, imported in less than half of its time; to be imported instead of `feast` where a process opens the store.

Feast decorates its classes with typeguard, which parses and compiles a whole module anew for every method: 7 of the 12 seconds
of a core that the import takes. Every mixer, every materialisation and every worker paid them. Here the classes come
undecorated; the definitions are still checked where Feast is imported first, as its own commands do (`feast apply`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typeguard


def _undecorated(target: Callable[..., Any] | None = None, **_: Any) -> Callable[..., Any]:
    """What `typeguard.typechecked` is to Feast while it is imported: with options or without, it changes nothing."""
    return (lambda decorated: decorated) if target is None else target


_checking = typeguard.typechecked
typeguard.typechecked = _undecorated
try:
    from feast import FeatureStore, RepoConfig
    from feast.repo_config import RegistryConfig
finally:
    typeguard.typechecked = _checking

__all__ = ["FeatureStore", "RegistryConfig", "RepoConfig"]
