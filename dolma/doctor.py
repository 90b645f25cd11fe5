"""`dolma doctor`: what a recipe needs and whether it is there, before anything runs.

Looked at are the documents, what each stage says that it needs, whether settings fit each other, the packages of
executors and storages, what the machine has, and where everything will be written. Nothing is downloaded. Only a place
that is given is written to.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence

from dolma.config import Recipe
from dolma.data import streams
from dolma.data.discovery import describe
from dolma.data.named_fields import check_named_fields
from dolma.data.storage.table import extra_of
from dolma.errors import ConfigError, DataError, DolmaError
from dolma.graph import Graph, corpus_of, graph_of, reading_of
from dolma.models.fetch import cache_folder
from dolma.pipeline import check, doubts
from dolma.printable import counted, printable
from dolma.requirements import Finding, extra_finding

_TRIED = b"dolma doctor\n"


def examine(recipe: Recipe) -> list[Finding]:
    """Everything that the recipe needs, in the order in which a run would meet it."""
    graph = graph_of(recipe)
    found = [*_documents(recipe), *(finding for node in graph for finding in node.needs())]
    return [*found, *_settings(graph, found), *_packages(recipe), *_machine(recipe)]


def _settings(graph: Graph, found: Sequence[Finding]) -> Iterator[Finding]:
    """Whether rules, shares and names fit each other; what was `found` before is not said again."""
    missing = " ".join(f"{one.what} {one.get}" for one in found if not one.ok)
    try:
        check(graph)
        doubtful = doubts(graph)
    except (ConfigError, DataError) as error:
        first, _, rest = str(error).partition("\n")
        if error.message.partition("\n")[0] not in missing:
            yield Finding(what=first, ok=False, get=rest.strip())
        return
    yield Finding(what="settings, rules and names of the recipe", ok=True)
    yield from (Finding(what=f"perhaps wrong: {line}", ok=True) for line in doubtful)


def try_place(place: str) -> list[Finding]:
    """Whether files can be listed, written, read and removed in a folder or below a URL; a file of ours is tried.

    Each finding that is not ok says what the storage answered and what to type, such as the missing permission.
    """
    file = streams.join(place, f".dolma-doctor-{uuid.uuid4().hex}")
    tries: list[tuple[str, Callable[[], object]]] = [
        ("list", lambda: streams.list_files(place)),
        ("write", lambda: streams.write_bytes(file, _TRIED)),
        ("read", lambda: streams.read_bytes(file) == _TRIED or "it does not hold what was written"),
        ("remove", lambda: streams.remove(file)),
    ]
    found: dict[str, Finding] = {}
    new = not streams.is_url(place) and not os.path.exists(streams.local_path(place))
    for name, attempt in tries:
        what = f"{name} {printable(place)}"
        if name in ("read", "remove") and not found["write"].ok:
            found[name] = Finding(
                what=f"{what}: not tried, for want of a file", ok=False, get="first make writing work"
            )
            continue
        try:
            said = attempt()
            found[name] = Finding(what=what, ok=not isinstance(said, str), get=said if isinstance(said, str) else "")
        except (DolmaError, OSError) as error:
            first, _, rest = str(error).partition("\n")
            found[name] = Finding(what=f"{what}: {first}", ok=False, get=rest.strip())
    if new and os.path.isdir(streams.local_path(place)):
        os.rmdir(streams.local_path(place))
    return list(found.values())


def _machine(recipe: Recipe) -> Iterator[Finding]:
    """What this machine has, and where everything will be written, with the room that is there."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    open_files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Finding(what=f"memory: {_gb(memory)}, {os.cpu_count()} cores", ok=True)
    yield Finding(what=f"open files: {open_files:,}; `ulimit -n` allows up to {most:,}", ok=True)
    for what, folder in _written(recipe):
        yield Finding(what=f"{what} goes to {printable(folder)}{_room(folder)}", ok=True)


def _written(recipe: Recipe) -> Iterator[tuple[str, str]]:
    for node in graph_of(recipe):
        if node.output is not None:
            yield node.label, node.output
    if recipe.quarantine is not None:
        yield "quarantine", recipe.quarantine
    if any(streams.is_url(folder) for folder in (recipe.output, recipe.attributes) if folder is not None):
        yield "what is to be uploaded", tempfile.gettempdir()
    yield "what `dolma fetch` gets", str(cache_folder())


def _room(folder: str) -> str:
    """How much is free where a local folder is or will be; what tries a place that is not local."""
    if streams.is_url(folder):
        return f"; not tried: `dolma doctor {printable(folder)}` does"
    there = os.path.abspath(streams.local_path(folder))
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    return f"; {_gb(shutil.disk_usage(there).free)} free"


def _gb(n_bytes: int) -> str:
    """A size for people.

    >>> _gb(1_500_000_000)
    '1.5 GB'
    """
    return f"{n_bytes / 1e9:,.1f} GB"


def _documents(recipe: Recipe) -> Iterator[Finding]:
    if not recipe.documents:
        yield Finding(what="documents", ok=False, get="name patterns: `documents:` in the recipe, or --documents")
        return
    try:
        corpus = corpus_of(recipe)
        shards, left_out = corpus.shards(), describe(corpus.left_out())
        check_named_fields(corpus, reading_of(recipe))
    except (ConfigError, DataError) as error:
        yield Finding(what="documents", ok=False, get=str(error).replace("\n", " "))
        return
    yield Finding(
        what=f"documents: {counted(len(shards), 'file')}" + (f"; left out: {left_out}" if left_out else ""), ok=True
    )


def _packages(recipe: Recipe) -> Iterator[Finding]:
    if recipe.executor == "ray":
        yield extra_finding("ray", purpose="executor ray")
    paths: Sequence[str] = [*recipe.documents, recipe.output or "", recipe.attributes or ""]
    for extra in sorted({extra_of(path) for path in paths} - {""}):
        yield extra_finding(extra, purpose=f"{extra} paths")
