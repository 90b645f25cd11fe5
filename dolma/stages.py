"""What a stage is, and the table of them: a new one is its package and a line here.

A recipe's stages are `Node`s: each is a `Stage` with settings, inputs and a folder. Importing this loads nothing heavy.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dolma.errors import ConfigError

if TYPE_CHECKING:
    from dolma.config import TokenizeConfig
    from dolma.data.columns import Output
    from dolma.data.dataset import Dataset
    from dolma.data.documents import Reading
    from dolma.data.manifest import Manifest, OutputFile
    from dolma.requirements import Finding
    from dolma.runner.ledger import Ledger
    from dolma.runner.options import RunOptions
    from dolma.runner.progress import Reporter
    from dolma.runner.report import StageReport, Table


class Package(NamedTuple):
    """A line of the table: the package whose `STAGE` it is, what the help of `dolma` says of the command, its alias."""

    package: str
    summary: str
    alias: str = ""


PACKAGES = {
    "tag": Package("dolma.taggers", "measure documents with taggers"),
    "dedupe": Package("dolma.dedupers", "find copies: exact ones, near-duplicates, repeated paragraphs"),
    "mix": Package("dolma.mixers", "decide what stays, by rules, and how often"),
    "tokenize": Package("dolma.tokens", "encode documents into token shards", alias="tokens"),
    "train": Package("dolma.training", "train an OLMo-family model on token shards; plan, export, soup"),
    "stat": Package("dolma.stats", "count, and describe attributes per source"),
}
"""The stages by name, in the order in which a recipe's sections run."""

Kind = Literal["documents", "attributes", "tokens", "checkpoints", "statistics"]


def find_stage(name: str) -> Stage:
    """The stage of this name, a key of `PACKAGES`."""
    found = importlib.import_module(PACKAGES[name].package).STAGE
    assert isinstance(found, Stage)
    return found


def kind_written(name: str) -> Kind | None:
    """What the stage of this name writes; None where there is no such stage."""
    return find_stage(name).writes if name in PACKAGES else None


def folder_of(kind: Kind) -> str:
    """The folder, below the output of a recipe whose stages have no names, of the first stage that writes this."""
    return next(stage.folder for stage in map(find_stage, PACKAGES) if stage.writes == kind)


def checks_of(kind: str) -> Checks | None:
    """How a file set is verified whose manifest says that it is of this stage; None where there is no such stage."""
    found = (find_stage(name).checks.get(kind) for name in ([kind] if kind in PACKAGES else PACKAGES))
    return next((checks for checks in found if checks is not None), None)


def function_of(reference: str) -> Callable[..., Any]:
    """The function at `module:name`."""
    function: Callable[..., Any] = pkgutil.resolve_name(reference)
    return function


def call(reference: str, values: Mapping[str, Any]) -> Any:
    """What the function at `module:name` returns, given those of the values that its parameters name."""
    function = function_of(reference)
    return function(**{name: values[name] for name in inspect.signature(function).parameters if name in values})


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How stages are run: nothing here changes a byte of output."""

    options: RunOptions
    reporter: Reporter | None = None
    on_step: Callable[..., None] | None = None  # told of each training step
    stop: Callable[[], bool] | None = None  # asked in between whether to save and end, of stages that `stops`


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One stage of a recipe: its settings, what it reads, and where it writes; and what the stage does with these.

    `path` is the key below which its section stands; `reads` names the nodes whose outputs it reads; `tokens` are
    folders of token shards; `output` is its folder, None where the recipe has no `home` for it; `tokenize` are the
    settings by which the documents that it writes are encoded, where one stage of the recipe does so.
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
    tokenize: TokenizeConfig | None = None

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

    def run(self, running: Running) -> Iterator[StageReport[Any]]:
        """Run it, part by part; a report for each."""
        return self._each(self.stage.run, running)

    def plan(self, running: Running | None = None) -> Iterator[dict[str, Any]]:
        """Rows with `input`, `bytes`, `columns` and `output`; no document is read.

        With `running`, what it would refuse is refused as far as the stage can tell.
        """
        return itertools.chain.from_iterable(self._each(self.stage.plan, running))

    def preview(self, running: Running) -> StageReport[Any] | None:
        """What it would write; None where the stage cannot say it."""
        return next(self._each(self.stage.preview, running), None)

    def check(self, declared: Mapping[str, Mapping[str, Output]]) -> None:
        """Return when nothing can be seen to be wrong before data is read.

        `declared` are the outputs, by attribute set, of what it reads and may not be there yet.
        """
        for _ in self._each(self.stage.check, declared=declared):
            pass

    def declares(self) -> dict[str, Mapping[str, Output]]:
        """The outputs that it will write, by attribute set."""
        return _joined(self._each(self.stage.declares))

    def doubts(self) -> Iterator[str]:
        """What seems wrong before the documents are read, in words."""
        return itertools.chain.from_iterable(self._each(self.stage.doubts))

    def check_corpus(self, ledger: Ledger) -> None:
        """Return when it fits the account of a stage that has read the same documents."""
        for _ in self._each(self.stage.check_corpus, ledger=ledger):
            pass

    def sets(self) -> list[str]:
        """The file sets below its folder, as far as they can be told."""
        return list(itertools.chain.from_iterable(self._each(self.stage.sets))) if self.stage.sets else [""]

    def again(self) -> dict[str, str]:
        """Why it would replace what it has finished, by file set; no document is read."""
        return _joined(self._each(self.stage.again))

    def unlike(self, manifest: Manifest) -> Iterator[str]:
        """Where one of its file sets was made by other settings, ends of sentences; imports no code that it names."""
        return itertools.chain.from_iterable(self._each(self.stage.unlike, manifest=manifest))

    def elsewhere(self, folder: str) -> Node | None:
        """What is made again in another folder, to be compared: all of it or a sample; None where nothing can be."""
        node = replace(self, output=folder)
        if self.stage.sample:
            chosen = next(self._each(self.stage.sample))
            if chosen is None:
                return None
            node = replace(node, config=chosen[0], dataset=chosen[1])
        if self.stage.writes == "attributes":
            reads = "attributes" in self.stage.reads_of(self.config)
            homes = (self.dataset.attributes, *self.dataset.further) if reads else ()
            further = tuple(home for home in homes if home is not None)
            node = replace(node, dataset=replace(node.dataset, attributes=folder, further=further))
        return None if self.stage.recomputed else node

    def recomputed(self) -> Iterator[str]:
        """What of its outputs is otherwise when it is computed again without making them, a line each."""
        return itertools.chain.from_iterable(self._each(self.stage.recomputed))

    def explain(self) -> Iterator[Table]:
        """What its settings come to, for `--explain`."""
        return itertools.chain.from_iterable(self._each(self.stage.explain))

    def what_if(self, running: Running, **asked: Any) -> Iterator[Table]:
        """What would come of other thresholds, for `--what-if`."""
        return itertools.chain.from_iterable(self._each(self.stage.what_if, running, **asked))

    def needs(self) -> Iterator[Finding]:
        """What it needs of the machine, for `dolma doctor`."""
        return itertools.chain.from_iterable(self._each(self.stage.needs))

    def ending(self, report: StageReport[Any]) -> Iterator[str]:
        """Lines at the end of a whole run."""
        return itertools.chain.from_iterable(self._each(self.stage.ending, report=report))

    def accept(self, report: StageReport[Any], max_errors: int) -> None:
        """Return when a finished run was as good as asked for."""
        for _ in self._each(self.stage.accept, report=report, max_errors=max_errors):
            pass

    def _each(self, reference: str, running: Running | None = None, **given: Any) -> Iterator[Any]:
        """What a function of the stage returns, for each of the sections; nothing where the stage has no such one."""
        if not reference:
            return
        values = {key: getattr(self, key) for key in VALUES} | given
        if running is not None:
            values |= {key: getattr(running, key) for key in RUNNING}
        if _needs(reference, "output"):
            values["output"] = self.folder
        values = {key: value for key, value in values.items() if value is not None}  # left to the function's default
        for config in self.config if isinstance(self.config, list) else [self.config]:
            yield call(reference, values | {"config": config})


VALUES = ("dataset", "output", "reading", "seed", "tokens", "reads", "home", "tokenize")
"""What functions of a stage may ask of its node, by the names of their parameters, besides the section as `config`."""
RUNNING = ("options", "reporter", "on_step", "stop")
"""The same of those that run it, or would: `run`, `plan` and `preview`."""


def _needs(reference: str, name: str) -> bool:
    """Whether a function has this parameter, and no default for it."""
    wanted = inspect.signature(function_of(reference)).parameters.get(name)
    return wanted is not None and wanted.default is inspect.Parameter.empty


def _joined(found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {key: value for mapping in found for key, value in mapping.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """How `dolma verify` looks into a finished file set, whose files have the bytes that its manifest says.

    `rows`, `problems` and `contradictions` are functions as `module:name`, called as the methods after them are;
    `strangers`: files that no run has written may lie there.
    """

    rows: str = ""
    problems: str = ""
    contradictions: str = ""
    strangers: bool = False

    def rows_of(self, out: OutputFile, path: str) -> int | None:
        """The rows of a file of the set."""
        found: int | None = call(self.rows, {"out": out, "path": path}) if self.rows else None
        return found

    def problems_of(self, folder: str, manifest: Manifest) -> list[str]:
        """What is damaged, a line each."""
        return list(call(self.problems, {"folder": folder, "manifest": manifest})) if self.problems else []

    def contradictions_of(self, folder: str, manifest: Manifest, ledger: Ledger) -> Iterable[str]:
        """Where the manifest does not fit, ends of sentences."""
        given = {"folder": folder, "manifest": manifest, "ledger": ledger}
        found: Iterable[str] = call(self.contradictions, given) if self.contradictions else ()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Manual:
    """How a stage is a command: the text of its help, an example to paste, and what it has of options.

    `options` are keys of its section by section of the help page; after a key may stand what else the option is called,
    as in `taggers -t --taggers`. `needed` are the options without which nothing says what to do. `output` says what
    the folder of `--output` is; empty where it has none. `below` are commands below this one, which start over; they
    stand in a module of `dolma/cli`. `seeded`: it draws random numbers. `profile`: the details of
    its report have a `profile`, which `--profile` shows. `explain`: what `--explain`
    prints of the settings. `sql`: it answers queries over documents and attributes.
    """

    help: str
    example: str
    options: Mapping[str, Sequence[str]]
    needed: Sequence[str]
    output: str = ""
    below: Sequence[str] = ()
    seeded: bool = False
    profile: bool = False
    explain: str = ""
    sql: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage, whatever recipe it is in.

    What it is: `name` is its command and its section of a recipe; `folder` its place below the output of a recipe whose
    stages have no names of their own. `reads` and `writes` are kinds of files, and attributes are read too where the
    function `measured` says so of a section; `after_mix`: its documents are those of the mix, where there is one.
    `kept`: its results are replaced only when told to. `bare`: all settings have defaults. `imports`: its section may
    name code, which is imported. `stops`: it saves and ends well when `Running.stop` says so. `resumes`: its command
    goes on where it was killed. `beginning` says what takes time before any progress. `kernels` is a section that needs
    all kernels of the stage, or the function that gives it; None: it compiles none.

    What it does: the functions of its package as `module:name`, imported when they are called. Each is given what its
    parameters name: `config` (its section), `VALUES` of its node, and what the methods of `Node` of these names say
    of them. A section that is a list is gone through. `show` makes tables of a report's `ledger` and `details`.
    `checks` are by the stage that a manifest names; `manual` is how it is a command.
    """

    name: str
    folder: str
    reads: tuple[Kind, ...]
    measured: str = ""
    writes: Kind
    beginning: str
    after_mix: bool = False
    kept: bool = False
    bare: bool = False
    imports: bool = False
    stops: bool = False
    resumes: bool = True
    kernels: Any = None
    run: str
    plan: str
    preview: str = ""
    check: str = ""
    declares: str = ""
    doubts: str = ""
    check_corpus: str = ""
    sets: str = ""
    again: str = ""
    unlike: str = ""
    sample: str = ""
    recomputed: str = ""
    needs: str = ""
    manual: Manual
    explain: str = ""
    show: str = ""
    what_if: str = ""
    ending: str = ""
    accept: str = ""
    checks: Mapping[str, Checks]

    def reads_of(self, config: Any) -> tuple[Kind, ...]:
        """What it reads with these settings."""
        sections = config if isinstance(config, list) else [config]
        if not self.measured or not any(function_of(self.measured)(section) for section in sections):
            return self.reads
        return (*self.reads, "attributes")

    def tables(self, report: StageReport[Any]) -> Iterable[Table]:
        """What a report of this stage has to show."""
        given = {"ledger": report.ledger, "details": report.details}
        found: Iterable[Table] = call(self.show, given) if self.show else ()
        return found
