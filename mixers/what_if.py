"""What a threshold leaves: retained documents, bytes and tokens as it moves, all other rules as they are.

measure    a piece -> of each document that the other rules leave: the measured values, its bytes, tokens and label

A sweep is a rule with several thresholds: `gopher.word_count >= {20,30,50,100}`. It takes the place of the rule of the
mix that makes the same comparison about all sources, if there is one. Documents are read once; `WhatIf` then holds a
few numbers for each that the other rules leave, so that another threshold costs no reading.
"""

from __future__ import annotations

import itertools
import math
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dolma.amounts import count_of
from dolma.config import MixConfig
from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.data.manifest import FileSet, output_file
from dolma.data.parquet import ParquetOutput
from dolma.errors import ConfigError, DataError
from dolma.mixers.catalogue import Catalogue
from dolma.mixers.expressions import Expression, left_of, parse
from dolma.mixers.judge import Count, Judge, Judged, PieceSpec, tasks_of
from dolma.mixers.labels import read_labels
from dolma.mixers.rules import Kind, Rule, is_null, relation, written_rules
from dolma.mixers.sql import ExpressionError, columns_of, first_lines, quoted
from dolma.mixers.subject import Subject, subject_of
from dolma.printable import printable
from dolma.runner.options import RunOptions
from dolma.runner.progress import Reporter
from dolma.runner.report import Table
from dolma.runner.stage import open_stage
from dolma.runner.task import TaskResult

_SWEEP = re.compile(r"\s*(?:(?:[\w -]+:\s+)?(keep|drop)\s*:)?\s*(.+?)\s*(>=|<=|>|<)\s*\{([^{}]*)\}\s*", re.DOTALL)
_OPERATORS = {
    ">=": "COMPARE_GREATERTHANOREQUALTO",
    "<=": "COMPARE_LESSTHANOREQUALTO",
    ">": "COMPARE_GREATERTHAN",
    "<": "COMPARE_LESSTHAN",
}
_NOT = {">=": "<", "<=": ">", ">": "<=", "<": ">="}
"""The operator that holds of a number where another does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A rule whose threshold moves: `kind` of `expression` `operator` each of `thresholds`.

    `instead` is the path of the rule in whose place it stands, "" where it is one more. `beside` are rules that stay
    and read the same attributes.
    """

    kind: Kind
    expression: str
    operator: str
    thresholds: tuple[float, ...]
    instead: str = ""
    beside: tuple[str, ...] = ()

    @property
    def stands(self) -> str:
        """Where it stands among the rules of the mix, in words."""
        place = f"in the place of {self.instead}" if self.instead else "one more rule"
        return place + (f"; `{'`, `'.join(self.beside)}` stays" if self.beside else "")

    @property
    def label(self) -> str:
        """How a table calls it."""
        return f"{self.kind}: {self.expression} {self.operator}"

    @property
    def leaves(self) -> str:
        """The operator that holds between value and threshold for the documents that it leaves in."""
        return self.operator if self.kind == "keep" else _NOT[self.operator]

    def rule(self) -> str:
        """The rule at the first threshold."""
        return f"({self.expression}) {self.operator} {self.thresholds[0]!r}"


class Retained(msgspec.Struct, frozen=True, kw_only=True):
    """What is left at one threshold of each sweep; with labels, precision and recall of the labelled documents, 0-1."""

    thresholds: tuple[float, ...]
    documents: int
    bytes: int
    tokens: int | None = None
    precision: float | None = None
    recall: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The documents that all other rules leave, and what each sweep has measured of them.

    `values` is float64 of shape `(n_sweeps, n_docs)`: NaN where a measurement is missing. `n_bytes` and `tokens` are
    int64, `labels` int8: 1 for a document to keep, 0 for one to drop, -1 without a label. `wanted` counts documents of
    the corpus whose label is 1, also those that other rules drop; `unknown_labels` the ids that no document has.
    """

    sweeps: tuple[Sweep, ...]
    missing: str
    values: npt.NDArray[np.float64]
    n_bytes: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64] | None = None
    labels: npt.NDArray[np.int8] | None = None
    wanted: int = 0
    unknown_labels: int = 0

    def passes(self, sweep: int, threshold: float) -> npt.NDArray[np.bool_]:
        """Which documents a sweep leaves at a threshold; bool, shape `(n_docs,)`."""
        values = self.values[sweep]
        compare = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less}
        found = compare[self.sweeps[sweep].leaves](values, threshold)
        return found | np.isnan(values) if self.missing == "keep" else found

    def retained(self, *thresholds: float) -> Retained:
        """What is left at these thresholds, one for each sweep."""
        masks = (self.passes(i, threshold) for i, threshold in enumerate(thresholds))
        return self._retained(np.logical_and.reduce([*masks]), thresholds)

    def _retained(self, left: npt.NDArray[np.bool_], thresholds: tuple[float, ...]) -> Retained:
        precision = recall = None
        if self.labels is not None:
            right = int((left & (self.labels == 1)).sum())
            labelled = int((left & (self.labels >= 0)).sum())
            precision = right / labelled if labelled else None
            recall = right / self.wanted if self.wanted else None
        return Retained(
            thresholds=thresholds,
            documents=int(left.sum()),
            bytes=int(self.n_bytes[left].sum()),
            tokens=None if self.tokens is None else int(self.tokens[left].sum()),
            precision=precision,
            recall=recall,
        )

    def grid(self) -> list[Retained]:
        """What is left at each threshold of the sweep, or at each two of two sweeps."""
        masks = [[self.passes(i, at) for at in sweep.thresholds] for i, sweep in enumerate(self.sweeps)]
        combined = itertools.product(*(range(len(sweep.thresholds)) for sweep in self.sweeps))
        return [
            self._retained(
                np.logical_and.reduce([masks[i][at] for i, at in enumerate(places)]),
                tuple(sweep.thresholds[at] for sweep, at in zip(self.sweeps, places, strict=True)),
            )
            for places in combined
        ]

    def threshold_for(self, tokens: int) -> Retained | None:
        """The strictest threshold of the one sweep that leaves at least so many tokens; None where none does."""
        assert self.tokens is not None
        up = self.sweeps[0].leaves in (">", ">=")
        values = self.values[0]
        always = np.isnan(values)
        needed = tokens - (int(self.tokens[always].sum()) if self.missing == "keep" else 0)
        levels, places = np.unique(values[~always], return_inverse=True)
        of_level = np.zeros(len(levels), dtype=np.int64)
        np.add.at(of_level, places, self.tokens[~always])
        strictest_first = levels[::-1] if up else levels
        stricter = math.inf if up else -math.inf
        at = int(np.searchsorted(np.cumsum(of_level[::-1] if up else of_level), needed))
        if needed <= 0:  # those without a measurement are enough
            return self.retained(math.nextafter(float(strictest_first[0]) if len(levels) else 0.0, stricter))
        if at >= len(levels):
            return None
        level = float(strictest_first[at])
        return self.retained(math.nextafter(level, -stricter) if self.sweeps[0].leaves in (">", "<") else level)

    def most(self) -> int:
        """The tokens of all documents that the other rules leave."""
        assert self.tokens is not None
        return int(self.tokens.sum())

    def table(self, rows: Sequence[Retained]) -> Table:
        """These rows under the sweeps that they are about."""
        headers = [sweep.label for sweep in self.sweeps]
        n = self.unknown_labels
        unknown = [f"{n:,} labelled {'id is' if n == 1 else 'ids are'} of no document"] if n else []
        shown = [key for key in Retained.__struct_fields__[1:] if any(getattr(row, key) is not None for row in rows)]
        return Table(
            title="what if: " + "; ".join([*(f"`{sweep.label}` {sweep.stands}" for sweep in self.sweeps), *unknown]),
            headers=[*headers, *shown],
            rows=[[*map(_number, row.thresholds), *(_cell(getattr(row, key)) for key in shown)] for row in rows],
        )


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _cell(value: Any) -> Any:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else value


def answers(
    dataset: Dataset,
    config: MixConfig,
    *,
    sweeps: Sequence[str],
    target_tokens: str | None = None,
    labels: str | None = None,
    reading: Reading | None = None,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> Iterator[Table]:
    """What `dolma mix --what-if` shows: a row for each threshold, or each two of two sweeps; then that of a target.

    Raises:
        ConfigError: a sweep, the target or a rule cannot be used as it is, or no threshold leaves so many tokens.
        DataError: a file cannot be read, attributes do not fit their documents, or a rule has no answer.
    """
    tokens = None
    if target_tokens is not None:
        if len(sweeps) != 1:
            raise ConfigError(
                f"needs one sweep to look for a threshold of, and there are {len(sweeps)}\n  give one --what-if",
                path="--target-tokens",
            )
        try:
            tokens = count_of(target_tokens, key="--target-tokens")
        except ValueError as error:
            raise ConfigError(str(error)) from error
    found = what_if(
        dataset, config, sweeps, labels=labels, reading=reading, options=options, reporter=reporter, tokens=bool(tokens)
    )
    yield found.table(found.grid())
    if tokens is not None:
        at = found.threshold_for(tokens)
        if at is None:
            most = found.most()
            raise ConfigError(
                f"no threshold leaves {tokens:,} tokens: the other rules leave {most:,}"
                "\n  loosen them, or lower the target",
                path="--target-tokens",
            )
        yield replace(found.table([at]), title=f"the strictest threshold that leaves {tokens:,} tokens")


# --- what is asked ---------------------------------------------------------------------------------------------------


def read_sweep(text: str, config: MixConfig) -> Sweep:
    """The sweep that is written so, in the place of a rule of the mix if one makes the same comparison.

    >>> sweep = read_sweep("a.b >= {20, 30}", MixConfig(drop=["a.b >= 9"]))
    >>> sweep.label, sweep.thresholds, sweep.instead
    ('drop: a.b >=', (20.0, 30.0), '$.mix.drop[0]')
    >>> read_sweep("a.b >= {20}", MixConfig(keep=["a.b BETWEEN 9 AND 99"])).stands
    'one more rule; `keep: a.b BETWEEN 9 AND 99` stays'

    Raises:
        ConfigError: it is no comparison of an expression with numbers in braces.
    """
    found = _SWEEP.fullmatch(text)
    try:
        thresholds = tuple(map(float, found[4].split(","))) if found else ()
        expression = parse(found[2]) if found else None
    except ValueError as error:
        why = f"\n  {error}" if isinstance(error, ExpressionError) else ""
        raise _no_sweep(text, why) from error
    if found is None or expression is None or not all(map(math.isfinite, thresholds)):
        raise _no_sweep(text)
    rules = list(written_rules(config))
    same = next((rule for rule in rules if _compares(rule, expression, found[3])), None)
    kind: Kind = found[1] or (same.kind if same else "keep")  # type: ignore[assignment]
    instead = same.path if same is not None and same.kind == kind else ""
    beside = tuple(rule.label for rule in rules if rule.path != instead and _reads_some(rule, expression))
    return Sweep(
        kind=kind, expression=found[2], operator=found[3], thresholds=thresholds, instead=instead, beside=beside
    )


def _no_sweep(text: str, why: str = "") -> ConfigError:
    return ConfigError(
        f"`{printable(text)}` is no comparison with thresholds in braces{why}"
        "\n  write `gopher.word_count >= {20,30,50}`, with <, <=, > or >=",
        path="--what-if",
    )


def _reads_some(rule: Rule, expression: Expression) -> bool:
    """Whether a rule reads an attribute that the expression reads."""
    try:
        return not set(parse(rule.sql).columns).isdisjoint(expression.columns)
    except ExpressionError:  # told when the rules are compiled
        return False


def _compares(rule: Rule, expression: Expression, operator: str) -> bool:
    """Whether a rule about all sources compares this expression so with a constant."""
    if rule.sources is not None:
        return False
    try:
        found = parse(rule.sql)
    except ExpressionError:  # told when the rules are compiled
        return False
    if found.tree["type"] != _OPERATORS[operator] or found.tree["right"].get("class") != "CONSTANT":
        return False
    return left_of(found).lower() == expression.text.lower()


def what_if(
    dataset: Dataset,
    config: MixConfig,
    sweeps: Sequence[str],
    *,
    labels: str | None = None,
    reading: Reading | None = None,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
    tokens: bool = False,
) -> WhatIf:
    """What the mix leaves as thresholds move: one sweep such as `length.words >= {20,50}`, or two for a grid.

    Tokens are counted where an attribute has their number; with `tokens`, one has to. `labels` is a file with `id` and
    `keep`, true or false.

    Raises:
        ConfigError: a sweep or a rule cannot be used as it is; nothing was read.
        DataError: a file cannot be read, attributes do not fit their documents, or a rule has no answer.
    """
    if not 1 <= len(sweeps) <= 2:
        raise ConfigError(f"has {len(sweeps)} sweeps\n  give one, or two for a grid", path="--what-if")
    reading = reading or Reading()
    read = tuple(read_sweep(text, config) for text in sweeps)
    if len({(sweep.expression.lower(), sweep.leaves) for sweep in read}) < len(read):
        raise ConfigError(
            f"makes the comparison `{printable(read[0].label)}` twice\n  give all of its thresholds in one sweep",
            path="--what-if",
        )
    subject, own = _subject(dataset, config, read, reading)
    if tokens and len(own) == len(read):
        raise ConfigError(
            "no attribute has the number of tokens of a document"
            "\n  measure it: `dolma tag` with `{use: tokens, options: {tokenizer: tokenizer.json}}`",
            path="--target-tokens",
        )
    known = None if labels is None else read_labels(labels)
    work = MeasurePiece(
        judge=_others(subject, {rule.path for rule in own} | {sweep.instead for sweep in read}),
        own=own,
        labels=known,
        work="",
    )
    options = (options or RunOptions()).whole()
    with tempfile.TemporaryDirectory(prefix="dolma-what-if-") as folder:
        file_set = FileSet(folder=folder, stage="mix", name="what-if", config={}, inputs=[])
        with open_stage([file_set], options=options, reporter=reporter) as stage:
            work = replace(work, work=stage.work_folder)
            results = stage.run("measure", tasks_of(subject.specs()), work)
            table = pa.concat_tables(
                pq.read_table(streams.join(out.set, out.path)) for result in results for out in result.outputs
            )
    values = [table.column(f"value{i}").to_numpy() for i in range(len(own))]
    return WhatIf(
        sweeps=read,
        missing=config.missing,
        values=np.stack(values[: len(read)]),
        n_bytes=table.column("bytes").to_numpy(),
        tokens=np.nan_to_num(values[-1]).astype(np.int64) if len(own) > len(read) else None,
        labels=None if known is None else table.column("label").to_numpy(),
        wanted=sum(result.payload["wanted"] for result in results),
        unknown_labels=len(known or ()) - len({id for result in results for id in result.payload["labelled"]}),
    )


def _subject(
    dataset: Dataset, config: MixConfig, sweeps: Sequence[Sweep], reading: Reading
) -> tuple[Subject, tuple[Rule, ...]]:
    """The mix with what is measured as rules behind those of `keep`; and these: the sweeps and, if any, tokens."""
    first, rules = len(config.keep), [sweep.rule() for sweep in sweeps]
    counted = config.token_count
    unsampled: dict[str, Any] = {"sources": {}, "strata": [], "total": None, "unit": "bytes", "token_count": None}
    config = msgspec.structs.replace(config, **unsampled, keep=[*config.keep, *rules])
    catalogue = Catalogue.of(dataset, dataset.shards(), config, reading=reading)
    column = catalogue.counting("tokens")
    if counted is not None:
        column = catalogue.column(counted, path="$.mix.token_count", kinds=["int"])
    if column is not None:
        rules.append(f"{quoted(column[0])}.{quoted(column[1])} >= 0")
        config = msgspec.structs.replace(config, keep=[*config.keep, rules[-1]])
    try:
        subject = subject_of(dataset, config, reading)
    except ConfigError as error:
        of_sweep = error.path in {f"$.mix.keep[{i}]" for i in range(first, first + len(rules))}
        raise ConfigError(error.message, path="--what-if" if of_sweep else error.path) from error
    return subject, subject.judge.rules.rules[first : first + len(rules)]


def _others(subject: Subject, paths: set[str]) -> Judge:
    """What judges by the rules that are not at these paths."""
    rules = subject.judge.rules
    left = tuple(rule for rule in rules.rules if rule.path not in paths)
    return replace(subject.judge, rules=replace(rules, rules=left))


def value_of(rule: Rule) -> str:
    """SQL of the number that a rule compares."""
    return f"CAST(({left_of(parse(rule.evaluated))}) AS DOUBLE)"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurePiece:
    """Measures the documents of a piece that `judge` leaves, in a file of the work folder. Called with the piece."""

    judge: Judge
    own: tuple[Rule, ...]
    labels: Mapping[str, bool] | None
    work: str

    def __call__(self, spec: PieceSpec) -> TaskResult:
        count = Count.of(self.judge)
        values = [(f"value{i}", pa.float64()) for i in range(len(self.own))]
        schema = pa.schema([*values, ("bytes", pa.int64()), ("label", pa.int8())])
        wanted, labelled = 0, set[str]()
        with ParquetOutput(streams.join(self.work, f"{spec.index:06d}.measured.parquet"), schema, level=1) as out:
            for judged in self.judge.judge(spec, count, records=False):
                labels = self._labels(judged.batch)
                wanted += int((labels == 1).sum())
                labelled |= {judged.batch.ids[i] for i in np.flatnonzero(labels >= 0).tolist()}
                columns = [*self._values(judged), pa.array(judged.decision.n_bytes), pa.array(labels)]
                out.write(pa.Table.from_arrays(columns, schema=schema).filter(pa.array(judged.decision.kept)))
        outputs = [output_file(self.work, out.written)]
        payload = {"wanted": wanted, "labelled": sorted(labelled), "first_row": count.first_row, "rows": count.rows}
        return TaskResult(outputs=outputs, ledger=count.ledger(spec.piece, keep=True), payload=payload)

    def _labels(self, batch: TextBatch) -> npt.NDArray[np.int8]:
        known = self.labels or {}
        return np.array([known.get(id, -1) for id in batch.ids], dtype=np.int8)

    def _values(self, judged: Judged) -> list[pa.Array]:
        batch, rules = judged.batch, self.judge.rules
        try:
            found = columns_of([value_of(rule) for rule in self.own], relation(judged.arrays, len(batch)), first="*")
        except duckdb.Error as error:
            raise DataError(
                f"what is compared with thresholds cannot be evaluated: {printable(first_lines(error))}"
                "\n  TRY_CAST and TRY(...) give NULL instead",
                file=batch.path,
                line=int(batch.lines[0]),
            ) from error
        for rule, values in zip(self.own, found, strict=True):
            if rules.missing == "error" and values.null_count:
                raise is_null(rule, batch, judged.arrays, values.is_null().index(True).as_py())
        return found
