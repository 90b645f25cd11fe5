"""Two recipes: what differs in their settings, and which mixes they have made."""

from __future__ import annotations

from typing import Any

import msgspec

from dolma.config import read_recipe
from dolma.data.manifest import read_manifest
from dolma.errors import ConfigError
from dolma.graph import graph_of
from dolma.lookup.diff import Setting, differing
from dolma.printable import printable


def recipes_of(a: str, b: str) -> tuple[list[Setting], str, str]:
    """Of two recipes, the settings that differ and the folders of their last mixes; other paths as they are.

    Raises:
        ConfigError: only one of them is a recipe, or one has not been run.
    """
    are = [path.endswith((".yaml", ".yml")) for path in (a, b)]
    if not any(are):
        return [], a, b
    if not all(are):
        raise ConfigError(
            f"{printable(a)} and {printable(b)}: one is a recipe, the other is not\n  give two recipes, or two folders"
        )
    settings = differing(_settings(a), _settings(b))
    return settings, _mixed(a), _mixed(b)


def _settings(path: str) -> dict[str, Any]:
    recipe: dict[str, Any] = msgspec.to_builtins(read_recipe(path))
    return recipe


def _mixed(path: str) -> str:
    nodes = [node for node in graph_of(read_recipe(path)) if node.stage.writes == "documents" and node.output]
    done = [node.output for node in nodes if node.output is not None and read_manifest(node.output) is not None]
    if not done:
        raise ConfigError(
            f"{printable(path)}: it has no finished mix to compare\n  run it first: `dolma run {printable(path)}`"
        )
    return done[-1]
