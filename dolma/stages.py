"""What a stage is, and the table of them: a new one is its package and a line here.

A recipe's stages are `Node`s: each is a `Stage` with settings, inputs and a folder. Importing this loads nothing heavy.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dolma.errors import ConfigError

if TYPE_CHECKING:
    from dolma.data.columns import Output
    from dolma.data.dataset import Dataset
    from dolma.data.documents import Reading
    from dolma.data.manifest import Manifest, OutputFile
    from dolma.requirements import Finding
    from dolma.runner.ledger import Ledger
    from dolma.runner.options import RunOptions
    from dolma.runner.progress import Reporter
    from dolma.runner.report import StageReport, Table


class Entry(NamedTuple):
    """A line of the table: the package whose `STAGE` it is, and what the help of `dolma` says of the command."""

    package: str
    summary: str


PACKAGES = {
    "tag": Entry("dolma.taggers", "measure documents with taggers"),
    "dedupe": Entry("dolma.dedupers", "find exact copies of documents or paragraphs"),
    "mix": Entry("dolma.mixers", "decide what stays, by rules, and how often"),
    "tokenize": Entry("dolma.tokens", "encode documents into token shards"),
    "train": Entry("dolma.training", "train an OLMo-family model on token shards; plan, export, soup"),
    "stat": Entry("dolma.stats", "count, and describe attributes per source"),
}
"""The stages by name, in the order in which a recipe's sections run."""

Kind = Literal["documents", "attributes", "tokens", "checkpoints", "statistics"]


def find_stage(name: str) -> Stage:
    """The stage of this name, a key of `PACKAGES`."""
    found = importlib.import_module(PACKAGES[name].package).STAGE
    assert isinstance(found, Stage)
    return found


def checks_of(kind: str) -> Checks | None:
    """How a file set is verified whose manifest says that it is of this stage; None where there is no such stage."""
    found = (find_stage(name).checks.get(kind) for name in ([kind] if kind in PACKAGES else PACKAGES))
    return next((checks for checks in found if checks is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How stages are run: nothing here changes a byte of output."""

    options: RunOptions
    reporter: Reporter | None = None
    on_step: Callable[..., None] | None = None  # told of each training step
    stop: Callable[[], bool] | None = None  # asked in between whether to save and end, of stages that `stops`


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One stage of a recipe: its settings, what it reads, and where it writes.

    `path` is the key below which its section stands; `reads` names the nodes whose outputs it reads; `tokens` are
    folders of token shards; `output` is its folder, None where the recipe has no `home` for it.
    """

    name: str
    stage: Stage
    path: str
    config: Any
    dataset: Dataset
    tokens: tuple[str, ...]
    reads: tuple[str, ...]
    output: str | None
    home: str | None
    reading: Reading
    seed: int

    @property
    def label(self) -> str:
        """The stage, and what the recipe calls it if that is something else."""
        return self.stage.name if self.name == self.stage.name else f"{self.stage.name} {self.name}"

    @property
    def folder(self) -> str:
        """Where it writes.

        Raises:
            ConfigError: nothing says it.
        """
        if self.output is None:
            raise ConfigError(
                f"`{self.name}` needs to know where to write\n  give `--output DIR`, or `output:` in the recipe"
            )
        return self.output


def _none(*_: Any) -> Iterable[Any]:
    return ()


def _no_reasons(node: Node) -> Mapping[str, str]:
    return {}


def _the_folder(node: Node) -> list[str]:
    return [""]


def _accept(report: StageReport[Any], max_errors: int) -> None:
    """Take any report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """How `dolma verify` looks into a finished file set, whose files have the bytes that its manifest says.

    `rows` counts those of a file, None where that means nothing. `problems` are lines about what is damaged,
    `contradictions` ends of sentences about where the manifest and its outputs do not fit. `strangers`: files that no
    run has written may lie there.
    """

    rows: Callable[[OutputFile, str], int | None] = lambda out, path: None
    problems: Callable[[str, Manifest], Iterable[str]] = _none
    contradictions: Callable[[str, Manifest, Ledger], Iterable[str]] = _none
    strangers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage, whatever recipe it is in.

    What it is: `name` is its command and its section of a recipe; `folder` its place below the output of a recipe whose
    stages have no names of their own. `reads` and `writes` are kinds of files; `after_mix`: its documents are those of
    the mix, where there is one. `kept`: its results are replaced only when told to. `bare`: all settings have defaults.
    `imports`: its section may name code, which is imported. `stops`: it saves and ends well when `Running.stop` says
    so. `beginning` says what takes time before any progress.

    What it does, all of a node: `run` it, part by part; `plan` it, in rows with `input`, `bytes`, `columns` and
    `output`; `preview` what it would write; `check` what can be seen to be wrong before data is read (given the
    outputs, by attribute set, of what it reads and may not be there yet); `declares` such outputs; `doubts`, in words;
    `check_corpus` against the ledger of a stage that has read the same documents; `sets`, the file sets below its
    folder, as far as they can be told; `again`, why it would replace what it has finished, by file set, without reading
    documents; `needs`, for `dolma doctor`.

    What is said of it: `show` a report's tables; `ending`, the lines at the end of a whole run; `accept`, which raises
    where a finished run was not as good as asked for. `checks` are by the stage that a manifest names.
    """

    name: str
    folder: str
    reads: tuple[Kind, ...]
    writes: Kind
    beginning: str
    run: Callable[[Node, Running], Iterable[StageReport[Any]]]
    plan: Callable[[Node], Iterable[dict[str, Any]]]
    after_mix: bool = False
    kept: bool = False
    bare: bool = False
    imports: bool = False
    stops: bool = False
    preview: Callable[[Node, Running], StageReport[Any]] | None = None
    check: Callable[[Node, Mapping[str, Mapping[str, Output]]], object] = _none
    declares: Callable[[Node], Mapping[str, Mapping[str, Output]]] = lambda node: {}
    doubts: Callable[[Node], Iterable[str]] = _none
    check_corpus: Callable[[Node, Ledger], object] = _none
    sets: Callable[[Node], list[str]] = _the_folder
    again: Callable[[Node], Mapping[str, str]] = _no_reasons
    needs: Callable[[Node], Iterable[Finding]] = _none
    show: Callable[[StageReport[Any]], Iterable[Table]] = _none
    ending: Callable[[Node, StageReport[Any]], Iterable[str]] = _none
    accept: Callable[[StageReport[Any], int], None] = _accept
    checks: Mapping[str, Checks]
