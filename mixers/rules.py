"""Rules: SQL boolean expressions over attributes, compiled against their schema before any data is read.

A rule names outputs as `tagger.output`; of the document itself it may use `document.id`, `document.source` and
`document.bytes` (UTF-8 bytes of the text as read, before span edits). Span lists are lists of structs:
`len(pii.email) = 0`, `list_sum([s.score for s in pii.email]) < 2`. One rule is one expression of type BOOLEAN that
looks at one document and says only what is known to follow from it (`dolma.mixers.expressions`); files cannot be
reached.

NULL is what a measurement is that was not made; an output that is NaN counts as one, and so does a division by zero
(the scores of spans are taken as they are: to DuckDB NaN is the largest number). Comparisons with
NULL give NULL, `NULL AND false` gives false, and what a rule that comes out as NULL means is said by `missing`: "error"
(the default) stops with the document, "keep" takes the rule as not dropping it, "drop" as dropping it. A span edit
whose list is NULL is treated in the same way.

>>> from dolma.data.columns import DocInt
>>> outputs = {"gopher": {"word_count": DocInt("words")}}
>>> rule = Rule(path="$.mix.keep[0]", kind="keep", sql="gopher.word_count > 1", columns=(("gopher", "word_count"),))
>>> relation({"gopher": {"word_count": pa.array([1, 2])}}, 2)["gopher"].type
StructType(struct<word_count: int64>)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dolma.config import MixConfig
from dolma.data.batch import TextBatch
from dolma.data.columns import Output, as_declared
from dolma.errors import ConfigError, DataError
from dolma.mixers.catalogue import DOCUMENT, Catalogue, Column
from dolma.mixers.expressions import check_operands, parse
from dolma.mixers.sql import ExpressionError, bound_type, evaluate, first_lines, quoted
from dolma.printable import printable

Missing = Literal["error", "keep", "drop"]
Arrays = Mapping[str, Mapping[str, pa.Array]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One condition: `kind` "keep" must hold, "drop" must not; "spans" asks that the list of a span edit is there.

    `path` is its key in the recipe; `columns` are the (set, output) pairs that it reads.
    """

    path: str
    kind: Literal["keep", "drop", "spans"]
    sql: str
    columns: tuple[Column, ...]

    @property
    def label(self) -> str:
        """How the ledger calls it.

        >>> Rule(path="$.mix.keep[0]", kind="keep", sql="a.b >\\n 1", columns=()).label
        'keep: a.b > 1'
        """
        return f"{self.kind}: {' '.join(self.sql.split())}"

    @property
    def holds(self) -> str:
        """SQL that is true for documents that the rule leaves in, false for those that it drops, or NULL."""
        if self.kind == "spans":
            name, output = self.columns[0]
            return f"CASE WHEN {quoted(name)}.{quoted(output)} IS NULL THEN NULL ELSE true END"
        return self.sql if self.kind == "keep" else f"NOT (\n{self.sql}\n)"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """All rules of a mix, in the order of the waterfall: keep, drop, spans. Picklable; made by `compile_rules`.

    `outputs` has the declared type of each column that any rule or span edit reads, by set; of `document` too.
    """

    rules: tuple[Rule, ...]
    missing: Missing
    outputs: dict[str, dict[str, Output]]

    @property
    def labels(self) -> list[str]:
        """The rules as the ledger calls them."""
        return [rule.label for rule in self.rules]

    def columns_of(self, name: str) -> list[str]:
        """The outputs that are read of an attribute set."""
        return list(self.outputs.get(name, {}))

    @property
    def sets(self) -> list[str]:
        """The attribute sets that are read."""
        return [name for name in self.outputs if name != DOCUMENT]

    def holds(self, batch: TextBatch, arrays: Arrays) -> npt.NDArray[np.bool_]:
        """Whether each rule leaves each document in; bool, shape `(n_rules, n_docs)`.

        `arrays` has the batch's rows of every column of `outputs` but `document`'s.

        Raises:
            DataError: a rule is NULL for a document and `missing` is "error", or cannot be evaluated on it.
        """
        if not self.rules:
            return np.ones((0, len(batch)), dtype=bool)
        wanted = self.outputs.get(DOCUMENT, {})
        own = {name: array for name, array in _document_arrays(batch, wanted).items() if name in wanted}
        rows = relation({**arrays, **({DOCUMENT: own} if own else {})}, len(batch))
        try:
            found = evaluate([rule.holds for rule in self.rules], rows)
        except duckdb.Error:
            self._locate(batch, rows)
        except ExpressionError as error:
            raise DataError(f"no document was decided on: a rule {error}", file=batch.path) from error
        for rule, (_, nulls) in zip(self.rules, found, strict=True):
            if self.missing == "error" and nulls.any():
                raise _is_null(rule, batch, arrays, int(nulls.argmax()))
        return np.stack([holds | nulls if self.missing == "keep" else holds for holds, nulls in found])

    def _locate(self, batch: TextBatch, rows: pa.Table) -> NoReturn:
        """Raise the error of the first rule that cannot be evaluated, at the first document where that is so."""
        for rule in self.rules:
            if _error_of(rule, rows) is None:
                continue
            low, high = 0, len(rows)  # the first `low` rows are fine, the first `high` are not
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if _error_of(rule, rows.slice(0, middle)) else (middle, high)
            error = _error_of(rule, rows.slice(low, 1))
            raise DataError(
                f"the rule `{printable(rule.label)}` cannot be evaluated for document {batch.ids[low]!r}: "
                f"{printable(error)}\n"
                f"  the rule is {rule.path}; TRY_CAST and TRY(...) give NULL instead",
                file=batch.path,
                line=int(batch.lines[low]),
            )
        raise DataError(
            "the rules can be evaluated one by one, but not together"
            "\n  lower the memory that they need: shorten texts that a rule makes",
            file=batch.path,
        )


def compile_rules(config: MixConfig, catalogue: Catalogue) -> RuleSet:
    """The rules and span edits of a mix, checked; nothing but attribute schemas is read.

    Raises:
        ConfigError: a rule is no boolean expression over attributes that are there; carries the key's path.
    """
    texts = [("keep", i, sql) for i, sql in enumerate(config.keep)]
    texts += [("drop", i, sql) for i, sql in enumerate(config.drop)]
    rules = [_compile(kind, f"$.mix.{kind}[{i}]", sql, catalogue) for kind, i, sql in texts]  # type: ignore[arg-type]
    _refuse_twice(rules)
    for i, edit in enumerate(config.spans):
        rule = _span_rule(edit.attribute, f"$.mix.spans[{i}].attribute", catalogue)
        rules += [] if any(rule.sql == other.sql and other.kind == "spans" for other in rules) else [rule]
    columns = dict.fromkeys(column for rule in rules for column in rule.columns)
    outputs: dict[str, dict[str, Output]] = {}
    for name, output in sorted(columns):
        outputs.setdefault(name, {})[output] = catalogue.outputs(name)[output]
    return RuleSet(rules=tuple(rules), missing=config.missing, outputs=outputs)


def _compile(kind: Literal["keep", "drop"], path: str, sql: str, catalogue: Catalogue) -> Rule:
    try:
        expression = parse(sql)
        columns = tuple(dict.fromkeys(_resolve(names, path, catalogue) for names in expression.columns))
        if not columns:
            raise ExpressionError(
                "names no attribute, so it says the same of every document"
                "\n  name one: `length.words > 50`; `dolma mix --dry-run` shows which there are"
            )
        schema = _schema(columns, catalogue)
        check_operands(expression, schema, text=" ".join(sql.split()))
        kind_of_value = bound_type(sql, schema)
        rule = Rule(path=path, kind=kind, sql=sql, columns=columns)
        bound_type(rule.holds, schema)
    except ExpressionError as error:
        raise ConfigError(f"`{printable(sql)}`: {error}", path=path) from error
    if kind_of_value != "BOOLEAN":
        several = kind_of_value.startswith(("TUPLE", "STRUCT"))
        hint = "join conditions by AND or OR" if several else f"compare it, such as `{printable(sql)} > 0`"
        raise ConfigError(f"`{printable(sql)}` is {kind_of_value}, expected BOOLEAN\n  {hint}", path=path)
    return rule


def _resolve(parts: Sequence[str], path: str, catalogue: Catalogue) -> Column:
    try:
        return catalogue.resolve(parts)
    except ConfigError as error:
        raise ConfigError(error.message, path=path) from error


def _span_rule(attribute: str, path: str, catalogue: Catalogue) -> Rule:
    column = _resolve(attribute.split("."), path, catalogue)
    kind = catalogue.outputs(column[0])[column[1]].kind
    if kind != "spans":
        spans = [
            f"{name}.{output}"
            for name in catalogue.names
            for output, what in catalogue.outputs(name).items()
            if what.kind == "spans"
        ]
        raise ConfigError(
            f"{attribute!r} is {kind}, expected spans\n  spans are: {', '.join(spans) or 'nowhere'}", path=path
        )
    return Rule(path=path, kind="spans", sql=".".join(column), columns=(column,))


def _refuse_twice(rules: Iterable[Rule]) -> None:
    seen: dict[str, Rule] = {}
    for rule in rules:
        first = seen.setdefault(rule.label, rule)
        if first is not rule:
            raise ConfigError(
                f"`{printable(rule.sql)}` stands twice, at {printable(first.path)} too\n  leave one out", path=rule.path
            )


def _schema(columns: Iterable[Column], catalogue: Catalogue) -> pa.Schema:
    fields: dict[str, list[pa.Field]] = {}
    for name, output in columns:
        fields.setdefault(name, []).append(pa.field(output, catalogue.outputs(name)[output].arrow_type))
    return pa.schema([pa.field(name, pa.struct(outputs)) for name, outputs in fields.items()])


def relation(arrays: Arrays, n_rows: int) -> pa.Table:
    """One struct column per attribute set; each array has `n_rows` items."""
    names = list(arrays)
    structs = [pa.StructArray.from_arrays(list(of.values()), names=list(of)) for of in arrays.values()]
    if any(len(struct) != n_rows for struct in structs):
        raise ValueError(f"expected {n_rows} rows of every attribute, got {[len(struct) for struct in structs]}")
    return pa.table(structs, names=names)


def typed(column: pa.ChunkedArray | pa.Array, output: Output) -> pa.Array:
    """The column in its declared type, NaN as NULL.

    Raises:
        ValueError: it is of another type.
    """
    array = as_declared(column, output)
    if output.kind == "float" and pc.any(pc.is_nan(array)).as_py():
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, pa.float64()), array)
    return array


def _document_arrays(batch: TextBatch, wanted: Iterable[str]) -> dict[str, pa.Array]:
    makers = {
        "id": lambda: pa.array(batch.ids, pa.string()),
        "source": lambda: pa.array(batch.sources, pa.string()),
        "bytes": lambda: pa.array(batch.n_bytes),
    }
    return {name: makers[name]() for name in wanted}


def _error_of(rule: Rule, rows: pa.Table) -> str | None:
    try:
        evaluate([rule.holds], rows)
    except duckdb.Error as error:
        return first_lines(error)
    return None


def _is_null(rule: Rule, batch: TextBatch, arrays: Arrays, i: int) -> DataError:
    empty = [".".join(c) for c in rule.columns if c[0] in arrays and not arrays[c[0]][c[1]][i].is_valid]
    because = f" ({', '.join(empty)} {'is' if len(empty) == 1 else 'are'} missing)" if empty else ""
    return DataError(
        f"the rule `{printable(rule.label)}` is NULL for document {batch.ids[i]!r}{because}\n"
        f"  the rule is {rule.path}; `missing: keep` or `missing: drop` says what that means, "
        "or COALESCE(..., value) in the rule",
        file=batch.path,
        line=int(batch.lines[i]),
    )
