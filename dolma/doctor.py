"""`dolma doctor`: what a recipe needs and whether it is there, before anything runs.

Looked at are the documents, what each stage says that it needs, and the packages of executors and storages. Nothing is
downloaded and nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dolma.config import Recipe
from dolma.data.storage.table import extra_of
from dolma.errors import ConfigError, DataError
from dolma.graph import corpus_of, graph_of
from dolma.requirements import Finding, extra_finding


def examine(recipe: Recipe) -> list[Finding]:
    """Everything that the recipe needs, in the order in which a run would meet it."""
    of_stages = [finding for node in graph_of(recipe) for finding in node.stage.needs(node)]
    return [*_documents(recipe), *of_stages, *_packages(recipe)]


def _documents(recipe: Recipe) -> Iterator[Finding]:
    if not recipe.documents:
        yield Finding(what="documents", ok=False, get="name patterns: `documents:` in the recipe, or --documents")
        return
    try:
        shards = corpus_of(recipe).shards()
    except (ConfigError, DataError) as error:
        yield Finding(what="documents", ok=False, get=str(error).replace("\n", " "))
        return
    yield Finding(what=f"documents: {len(shards):,} files", ok=True)


def _packages(recipe: Recipe) -> Iterator[Finding]:
    if recipe.executor == "ray":
        yield extra_finding("ray", purpose="executor ray")
    paths: Sequence[str] = [*recipe.documents, recipe.output or "", recipe.attributes or ""]
    for extra in sorted({extra_of(path) for path in paths} - {""}):
        yield extra_finding(extra, purpose=f"{extra} paths")
