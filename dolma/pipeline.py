"""What is done with the stages of a recipe: checked before data is read, run; which wait, which are made again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dolma.config import Recipe, dump_recipe
from dolma.data import streams
from dolma.data.manifest import RECIPE, read_manifest, recipe_beside
from dolma.data.named_fields import check_named_fields, names_fields
from dolma.data.takedown import NAME as TAKEDOWN
from dolma.errors import ConfigError, DolmaError, OutputExistsError
from dolma.graph import Graph, graph_of
from dolma.stages import PACKAGES, Node, Running

if TYPE_CHECKING:
    from dolma.data.columns import Output
    from dolma.runner.report import StageReport


@contextmanager
def located(node: Node) -> Iterator[None]:
    """Errors of the block about a section `$.mix` are about that of this stage of the recipe."""
    try:
        yield
    except ConfigError as error:
        if error.path.startswith(f"$.{node.stage.name}") and node.path != "$":
            raise type(error)(error.message, path=node.path + error.path[1:], file=error.file) from error
        raise


def run_node(node: Node, running: Running) -> Iterator[StageReport[Any]]:
    """Run a stage of a recipe; one report for each of its parts."""
    from dolma.runner.local import refuse_while_starting_up

    refuse_while_starting_up()
    if "documents" in node.stage.reads and node.dataset.documents and names_fields(node.reading):
        with located(node):
            is_made = bool(node.stage.again) and _has_outputs(node) and not node.again()
        if not is_made:
            check_named_fields(node.dataset, node.reading)
    with located(node):
        for report in node.run(running):
            limit = node.reading.limit if "documents" in node.stage.reads else None
            said = [f"limited to the first {limit:,} documents"] if limit is not None else []
            name = node.name if report.name == report.stage else report.name
            yield replace(report, name=name, remarks=[*report.remarks, *said])


def plan_node(node: Node, running: Running | None = None) -> list[dict[str, Any]]:
    """What the stage would do, as plain rows; reads no text and writes nothing."""
    with located(node):
        return list(node.plan(running))


def chosen_of(graph: Graph, *, start: str | None = None, only: Sequence[str] = ()) -> Graph:
    """The stages that are to run: `only` these, or `start` and all that depend on it, or all.

    Raises:
        ConfigError: there is no such stage, or one needs outputs of another that are not there and are not made.
    """
    if start is not None and only:
        raise ConfigError("`--from` and `--only` both say which stages run\n  give one of the two")
    chosen = graph.beginning(start) if start is not None else graph.only(only) if only else graph
    for node in chosen:
        for name in waits_for(graph, node):
            if name not in chosen:
                raise ConfigError(
                    f"`{node.name}` reads what `{name}` writes, which is not there and does not run now"
                    f"\n  run `{name}` too, or before"
                )
    return chosen


def check(graph: Graph) -> None:
    """Return when nothing about the stages can be seen to be wrong before data is read.

    Rules are checked against what the recipe's own stages declare, whether or not they have run.

    Raises:
        ConfigError: something is; carries the key's path.
    """
    declared: dict[str, Mapping[str, Mapping[str, Output]]] = {}
    makers: dict[str, str] = {}
    for node in graph:
        with located(node):
            if "documents" in node.stage.reads and node.dataset.documents and not graph.inputs(node, "documents"):
                node.dataset.shards()
            declared[node.name] = node.declares()
            for name in declared[node.name]:
                _refuse_twice(f"{node.output}/{name}", name, node, makers)
            found: dict[str, Mapping[str, Output]] = {}
            for other in graph.inputs(node, "attributes"):
                for name in declared[other.name]:
                    _refuse_twice(f"{node.name}: {name}", name, other, makers)
                found |= declared[other.name]
            there = not waits_for(graph, node, of="documents")
            (node if there else replace(node, dataset=replace(node.dataset, documents=()))).check(found)


def _refuse_twice(key: str, name: str, node: Node, makers: dict[str, str]) -> None:
    if (other := makers.setdefault(key, node.label)) != node.label:
        raise ConfigError(
            f"{other} writes attributes {name!r} too\n  give these a `name` of their own",
            path=f"{node.path}.{node.stage.name}",
        )


def check_corpus(graph: Graph, node: Node, report: StageReport[Any]) -> None:
    """Return when all stages that read the same documents as this one fit its account of them.

    Raises:
        ConfigError: one does not; carries the key's path.
    """
    for other in graph:
        if other.dataset.documents == node.dataset.documents and node.stage.writes == "attributes":
            with located(other):
                other.check_corpus(report.ledger)


def doubts(graph: Graph) -> list[str]:
    """What seems wrong before the documents are read, in words.

    Raises:
        ConfigError: the documents have been seen to their ends, and something is wrong.
    """
    said = []
    for node in graph:
        if node.dataset.documents and not graph.inputs(node, "documents"):
            with located(node):
                said += [node.path + line.removeprefix("$") for line in node.doubts()]
    return said


def waits_for(graph: Graph, node: Node, *, of: str = "") -> list[str]:
    """The stages whose outputs (of a kind) this one reads, and that have not been run."""
    read = [graph[name] for name in node.reads if name in graph]
    return [other.name for other in read if of in ("", other.stage.writes) and not _is_there(graph, other)]


def _is_there(graph: Graph, node: Node) -> bool:
    """Whether a stage has been run: with which settings is not looked at."""
    return (node.stage.writes != "attributes" or not waits_for(graph, node)) and _has_outputs(node)


def _has_outputs(node: Node) -> bool:
    if node.stage.writes == "attributes":
        return all(streams.exists(row["output"]) for row in plan_node(node))
    return read_manifest(node.folder) is not None


_INHERITED = {"documents": "its documents are mixed again", "tokens": "its tokens are made again"}


def made_again(graph: Graph) -> dict[str, str]:
    """Which stages have finished outputs that a run would replace, and that are kept unless told otherwise; and why.

    Stages that are not in the graph do not run, so that what they wrote stays. Reads no document. What cannot be seen
    without reading, such as another file of the same size, is found by the stage itself, which then refuses.
    """
    return _kept_of(graph, _reasons(graph))


def _reasons(graph: Graph) -> dict[str, Mapping[str, str]]:
    """Why stages would replace what they have finished, by stage and file set, as far as is seen before they run."""
    found: dict[str, Mapping[str, str]] = {}
    for node in graph:
        if not node.stage.kept or streams.list_files(node.folder):
            found[node.name] = _again(graph, node, found)
    return found


def _kept_of(graph: Graph, found: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {name: next(iter(why.values())) for name, why in found.items() if why and graph[name].stage.kept}


def made_otherwise(graph: Graph) -> Iterator[tuple[str, str]]:
    """The finished folders that were made with other settings than these, and the differences.

    Imports no code that the recipe names; a stage that cannot be asked, as its documents or its tokenizer are gone, is
    passed over.
    """
    for node in graph:
        if node.stage.imports or node.stage.unlike:  # which says it itself
            continue
        try:
            found = node.again()
        except DolmaError:
            continue
        for name, why in found.items():
            if not why.startswith("input "):  # documents may have changed since
                yield streams.join(node.folder, name).rstrip("/"), why


def _again(graph: Graph, node: Node, found: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """Why a stage would replace what it has finished, by file set."""
    for name in node.reads:
        said = _INHERITED.get(graph[name].stage.writes) if found.get(name) else None
        if said is not None:
            return dict.fromkeys(node.sets(), said)
    if waits_for(graph, node, of="documents"):
        return {}
    with located(node):
        if own := node.again():
            return own
    measured = {set: why for name in node.reads for set, why in found.get(name, {}).items()}
    again: dict[str, str] = {}
    for own_set in node.sets() if measured else ():
        manifest = read_manifest(streams.join(node.folder, own_set).rstrip("/"))
        inputs = [file.name.split("/") for file in manifest.inputs] if manifest is not None else []
        used = {parts[1] for parts in inputs if parts[0] == "attributes" and len(parts) > 1}
        if of := next((one for one in measured if one in used), ""):
            again[own_set] = f"its attributes {of!r} are made again: {measured[of]}"
    return again


def refuse_replacing(again: Sequence[str]) -> None:
    """Return when no finished outputs would be replaced; `again` has a line for each.

    Raises:
        OutputExistsError: some would.
    """
    if again:
        raise OutputExistsError(
            "finished outputs would be replaced\n  "
            + "\n  ".join(again)
            + "\n  `--overwrite` replaces them; another `--output` keeps them"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A recipe that is about to be run: `chosen` of its stages; `stale` do not run and are not up to date, and why.

    `reasons` say why stages would replace what they have finished, by stage and file set.
    """

    recipe: Recipe
    graph: Graph
    chosen: Graph
    doubts: list[str]
    stale: dict[str, str]
    reasons: Mapping[str, Mapping[str, str]]

    @property
    def replaced(self) -> list[str]:
        """The finished outputs that the run would replace only when told to, a line for each."""
        again = _kept_of(self.chosen, self.reasons)
        return [f"{name}, {self.chosen[name].folder}: {why}" for name, why in again.items()]

    def go(
        self, reports_of: Callable[[Node, bool], Iterable[StageReport[Any]]], *, overwrite: bool
    ) -> Iterator[tuple[Node, StageReport[Any]]]:
        """Run the chosen stages; `reports_of` runs one, which may replace what is there or not.

        Raises:
            OutputExistsError: finished outputs would be replaced.
            SkippedRecordsError: more records were left out than allowed.
        """
        if not overwrite:
            refuse_replacing(self.replaced)
        ours = write_recipe(self.recipe)
        for node in self.chosen:
            replaces = overwrite or (ours and self._replaces_unasked(node))
            for report in reports_of(node, replaces):
                yield node, report
                report.check_skipped(self.recipe.max_errors)
                check_corpus(self.graph, node, report)

    def _replaces_unasked(self, node: Node) -> bool:
        """Whether a stage may replace what it has finished: never where a finished mix was then found to be of that.

        A reason that is not seen before the run, a file that has changed and kept its size, is one of the mix too.
        """
        if node.stage.kept or not writes_within_output(node):
            return False
        readers = self.chosen.beginning(node.name)
        return bool(self.reasons.get(node.name)) or not any(_has_outputs(one) for one in readers if one.stage.kept)

    def accept(self, reports: Mapping[str, Sequence[StageReport[Any]]]) -> None:
        """Return when what ran, by the stage's name, was as good as asked for."""
        for name, of_stage in reports.items():
            for report in of_stage:
                self.graph[name].accept(report, self.recipe.max_errors)


def prepare(recipe: Recipe, *, start: str | None = None, only: Sequence[str] = ()) -> Run:
    """A run of a recipe, all of which is checked that can be before data is read.

    Raises:
        ConfigError: something is wrong; carries the key's path.
    """
    graph = graph_of(recipe)
    if not len(graph):
        raise ConfigError(f"the recipe has no stage\n  it needs one of {', '.join(PACKAGES)}")
    if recipe.output is None:
        raise ConfigError("the recipe names no output folder\n  add `output: runs/name`, or give `--output DIR`")
    check(graph)
    said = doubts(graph)
    chosen = chosen_of(graph, start=start, only=only)
    again = made_again(graph) if len(chosen) < len(graph) else {}
    return Run(
        recipe=recipe,
        graph=graph,
        chosen=chosen,
        doubts=said,
        stale={name: why for name, why in again.items() if name not in chosen},
        reasons=_reasons(chosen),
    )


# --- the recipe beside what was made ---------------------------------------------------------------------------------


def write_recipe(recipe: Recipe) -> bool:
    """Write the resolved recipe into its output folder; whether the folder is ours to rewrite.

    It is when it is empty or absent, or already holds a recipe: then measurements and statistics of other settings may
    be replaced. What is `kept` is replaced only when told to.
    """
    assert recipe.output is not None
    path = streams.join(recipe.output, RECIPE)
    # Looked at first: another shard may be writing the recipe.
    beside = streams.join(recipe.output, TAKEDOWN)
    empty = all(path == beside or streams.is_temporary(path) for path in streams.list_files(recipe.output))
    there = streams.read_bytes(path) if streams.exists(path) else None
    ours = empty or there is not None
    if ours and there != (resolved := dump_recipe(recipe)):
        streams.write_note(path, resolved)
    return ours


def writes_within_output(node: Node) -> bool:
    """Whether the stage writes below the recipe's output folder; attributes may lie elsewhere, for other runs too."""
    home, output = (os.path.abspath(path) if "://" not in path else path for path in (node.home or "", node.folder))
    return f"{output}/".startswith(f"{home.rstrip('/')}/")


def write_recipe_beside(recipe: Recipe, report: StageReport[Any]) -> None:
    """Write the resolved recipe beside what a single command wrote, unless it was there already."""
    for manifest in report.manifests:
        path = recipe_beside(manifest)
        # A stage that was complete before may have been killed just before its recipe was written.
        if not (report.complete_before and (_belongs_to_run(recipe) or streams.exists(path))):
            streams.write_note(path, dump_recipe(recipe))


def _belongs_to_run(recipe: Recipe) -> bool:
    return recipe.output is not None and streams.exists(streams.join(recipe.output, RECIPE))
