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

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from dolma.mixers.catalogue import DOCUMENT, Catalogue, Column, is_field
from dolma.mixers.expressions import Expression, check_operands, parse
from dolma.mixers.fields import Field, values_of
from dolma.mixers.sql import ExpressionError, bound_type, evaluate, first_lines, quoted
from dolma.printable import printable

Kind = Literal["keep", "drop", "spans", "strata"]
Missing = Literal["error", "keep", "drop"]
Arrays = Mapping[str, Mapping[str, pa.Array]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One condition: `kind` "keep" must hold, "drop" must not; "spans" asks that the list of a span edit is there,
    "strata" that a value is by which the mix is divided.

    `path` is its key in the recipe; `columns` are the (set, output) pairs that it reads. It may be of a `group`, have
    a `name` there, and be about the documents of some `sources` alone: None is all. `evaluated` is what DuckDB is given
    of `sql`.
    """

    path: str
    kind: Kind
    sql: str
    columns: tuple[Column, ...] = ()
    group: str = ""
    name: str = ""
    sources: tuple[str, ...] | None = None
    evaluated: str = ""

    @property
    def label(self) -> str:
        """How the ledger calls it.

        >>> Rule(path="$.mix.keep[0]", kind="keep", sql="a.b >\\n 1").label
        'keep: a.b > 1'
        >>> Rule(path="$.mix.rules.gopher.keep.words", kind="keep", sql="a.b > 1", group="gopher", name="words").label
        'gopher: words'
        """
        said = self.name or f"{self.kind}: {' '.join(self.sql.split())}"
        return f"{self.group}: {said}" if self.group else said

    @property
    def holds(self) -> str:
        """SQL that is true for documents that the rule leaves in, false for those that it drops, or NULL."""
        if self.is_implicit:
            name, output = self.columns[0]
            return f"CASE WHEN {quoted(name)}.{quoted(output)} IS NULL THEN NULL ELSE true END"
        return self.evaluated if self.kind == "keep" else f"NOT (\n{self.evaluated}\n)"

    @property
    def is_implicit(self) -> bool:
        """Whether nobody wrote it: it asks that a value is there."""
        return self.kind in ("spans", "strata")

    def is_about(self, source: str) -> bool:
        """Whether documents of this source can be dropped by it."""
        return self.sources is None or source in self.sources


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """All rules of a mix, in the order of the waterfall: keep, drop, groups, spans, strata. Made by `compile_rules`.

    Picklable.
    `outputs` has the declared type of each column that the mix reads, by set; of `document` too, but for `fields` of
    records. `copied` has the columns that go into the metadata of documents, by their keys there.
    """

    rules: tuple[Rule, ...]
    missing: Missing
    outputs: dict[str, dict[str, Output]]
    fields: tuple[Field, ...] = ()
    copied: tuple[tuple[str, Column], ...] = ()

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

        `arrays` has the batch's rows of every column: `with_own` adds the document's.

        Raises:
            DataError: a rule is NULL for a document and `missing` is "error", or cannot be evaluated on it.
        """
        if not self.rules:
            return np.ones((0, len(batch)), dtype=bool)
        rows = relation(arrays, len(batch))
        holds = np.ones((len(self.rules), len(batch)), dtype=bool)
        for sources in dict.fromkeys(rule.sources for rule in self.rules):
            of = [i for i, rule in enumerate(self.rules) if rule.sources == sources]
            documents = _documents_of(sources, batch)
            if not len(documents):
                continue
            some = rows if len(documents) == len(rows) else rows.take(pa.array(documents))
            found = _evaluated([self.rules[i] for i in of], some, documents, batch)
            for i, (true, nulls) in zip(of, found, strict=True):
                if self.missing == "error" and nulls.any():
                    raise is_null(self.rules[i], batch, arrays, int(documents[nulls.argmax()]))
                holds[i, documents] = true | nulls if self.missing == "keep" else true
        return holds

    def with_own(self, batch: TextBatch, arrays: Arrays) -> Arrays:
        """Attribute rows of the batch with what rules read of the documents; with `fields`, the batch has its records.

        Raises:
            DataError: a record takes too much memory to look for fields.
        """
        own = _document_arrays(batch, self.outputs.get(DOCUMENT, {})) | self._values(batch)
        return {**arrays, DOCUMENT: own} if own else arrays

    def _values(self, batch: TextBatch) -> dict[str, pa.Array]:
        if not self.fields:
            return {}
        assert batch.records is not None
        try:
            return values_of(batch.records, self.fields)
        except duckdb.Error as error:
            names = ", ".join(field.name for field in self.fields)
            raise DataError(
                f"the fields {printable(names)} cannot be read for rules: {printable(first_lines(error))}"
                "\n  leave long records out: `--max-line-bytes`",
                file=batch.path,
                line=int(batch.lines[0]),
            ) from error


def compile_rules(
    config: MixConfig, catalogue: Catalogue, *, further: Iterable[Column] = (), strata: Iterable[Rule] = ()
) -> RuleSet:
    """The rules and span edits of a mix, checked, and those of its strata; nothing but attribute schemas is read.

    Raises:
        ConfigError: a rule is no boolean expression over attributes that are there; carries the key's path.
    """
    rules = [_compiled(rule, catalogue) for rule in written_rules(config)]
    _refuse_twice(rules)
    for i, edit in enumerate(config.spans):
        rule = _span_rule(edit.attribute, f"$.mix.spans[{i}].attribute", catalogue)
        rules += [] if any(rule.sql == other.sql and other.kind == "spans" for other in rules) else [rule]
    rules += list(strata)
    copied = tuple((key, _copied(name, f"$.mix.metadata.{key}", catalogue)) for key, name in config.metadata.items())
    columns = sorted(
        {column for rule in rules for column in rule.columns} | {column for _, column in copied} | set(further)
    )
    outputs: dict[str, dict[str, Output]] = {}
    for name, output in itertools.filterfalse(is_field, columns):
        outputs.setdefault(name, {})[output] = catalogue.outputs(name)[output]
    known = catalogue.fields
    fields = tuple(known.find(name) for _, name in filter(is_field, columns)) if known is not None else ()
    return RuleSet(rules=tuple(rules), missing=config.missing, outputs=outputs, fields=fields, copied=copied)


def written_rules(config: MixConfig) -> Iterator[Rule]:
    """The rules of a mix as they stand, in their order."""
    yield from _rules_of("$.mix", config.keep, config.drop)
    for name, group in config.rules.items():
        for rule in _rules_of(f"$.mix.rules.{name}", group.keep, group.drop):
            yield replace(rule, group=name, sources=None if group.sources is None else tuple(group.sources))


def _rules_of(path: str, keep: list[str] | dict[str, str], drop: list[str] | dict[str, str]) -> Iterator[Rule]:
    kinds: tuple[tuple[Kind, list[str] | dict[str, str]], ...] = (("keep", keep), ("drop", drop))
    for kind, texts in kinds:
        if isinstance(texts, dict):
            for name, sql in texts.items():
                yield Rule(path=f"{path}.{kind}.{name}", kind=kind, sql=sql, name=name)
        else:
            for i, sql in enumerate(texts):
                yield Rule(path=f"{path}.{kind}[{i}]", kind=kind, sql=sql)


def _compiled(rule: Rule, catalogue: Catalogue) -> Rule:
    """The rule with the columns that it reads.

    Raises:
        ConfigError: it is no boolean expression over attributes that are there.
    """
    sql, path = rule.sql, rule.path
    try:
        expression = parse(sql)
        columns = tuple(dict.fromkeys(_resolve(names, path, catalogue) for names in expression.columns))
        _name_fields(expression, columns, path)
        if not columns:
            raise ExpressionError(
                "names no attribute, so it says the same of every document"
                "\n  name one: `length.words > 50`; `dolma mix --dry-run` shows which there are"
            )
        _refuse_vectors(columns, catalogue)
        schema = _schema(columns, catalogue)
        if schema is None:
            return replace(rule, columns=columns)
        written = expression.text
        check_operands(expression, schema, text=" ".join(sql.split()))
        as_it_is = expression.text == written and not any(map(is_field, columns))
        rule = replace(rule, columns=columns, evaluated=sql if as_it_is else expression.text)
        kind_of_value = bound_type(rule.evaluated, schema)
        bound_type(rule.holds, schema)
    except ExpressionError as error:
        raise ConfigError(f"`{printable(sql)}`: {error}", path=path) from error
    if kind_of_value != "BOOLEAN":
        several = kind_of_value.startswith(("TUPLE", "STRUCT"))
        hint = "join conditions by AND or OR" if several else f"compare it, such as `{printable(sql)} > 0`"
        raise ConfigError(f"`{printable(sql)}` is {kind_of_value}, expected BOOLEAN\n  {hint}", path=path)
    return rule


def _refuse_vectors(columns: Sequence[Column], catalogue: Catalogue) -> None:
    for name, output in itertools.filterfalse(is_field, columns):
        if catalogue.outputs(name)[output].kind == "vector":
            raise ExpressionError(
                f"{name}.{output} is a vector, of which no number says something by itself\n  name what is made of it: "
                f"`dolma dedupe --method semantic --by {name}.{output} --name near` writes `near.duplicate`"
            )


def _name_fields(expression: Expression, columns: Sequence[Column], path: str) -> None:
    """Give each field of the records, in the expression, the one name that it has as a column."""
    names = [name for of, name in columns if of == DOCUMENT]
    for name in names:
        if alike := next((other for other in names if other != name and other.lower() == name.lower()), None):
            raise ConfigError(
                f"names {name!r} and {alike!r}, which SQL takes for one\n"
                f"  take one by `->>`: `document.metadata->>'$.url'`",
                path=path,
            )
    for node in expression.references:
        parts = node["column_names"]
        if parts[0].lower() == DOCUMENT and (name := ".".join(parts[1:])) in names:
            node["column_names"] = [DOCUMENT, name]


def _resolve(parts: Sequence[str], path: str, catalogue: Catalogue) -> Column:
    try:
        return catalogue.resolve(parts)
    except ConfigError as error:
        raise ConfigError(error.message, path=path) from error


def _span_rule(attribute: str, path: str, catalogue: Catalogue) -> Rule:
    column = catalogue.column(attribute, path=path, kinds=("spans",))
    return Rule(path=path, kind="spans", sql=".".join(column), columns=(column,))


def _copied(attribute: str, path: str, catalogue: Catalogue) -> Column:
    column = _resolve(attribute.split("."), path, catalogue)
    kind = "of the document itself" if column[0] == DOCUMENT else catalogue.outputs(column[0])[column[1]].kind
    if kind in ("spans", "vector", "of the document itself"):
        raise ConfigError(
            f"{attribute!r} is {kind}, expected a number, a text or a truth value of an attribute set"
            "\n  name one, such as `length.words`",
            path=path,
        )
    return column


def _refuse_twice(rules: Iterable[Rule]) -> None:
    seen: dict[str, Rule] = {}
    for rule in rules:
        first = seen.setdefault(rule.label, rule)
        if first is not rule:
            raise ConfigError(
                f"`{printable(rule.sql)}` stands twice, at {printable(first.path)} too\n  leave one out", path=rule.path
            )


def _schema(columns: Iterable[Column], catalogue: Catalogue) -> pa.Schema | None:
    """The columns by their sets; None where the type of one is not known yet."""
    fields: dict[str, list[pa.Field]] = {}
    for name, output in columns:
        if (kind := catalogue.type_of((name, output))) is None:
            return None
        fields.setdefault(name, []).append(pa.field(output, kind))
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


def _documents_of(sources: tuple[str, ...] | None, batch: TextBatch) -> npt.NDArray[np.int64]:
    if sources is None:
        return np.arange(len(batch))
    return np.flatnonzero([source in sources for source in batch.sources])


def _evaluated(
    rules: Sequence[Rule], rows: pa.Table, documents: npt.NDArray[np.int64], batch: TextBatch
) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Where each rule is true, and where NULL, over the rows of these documents of the batch."""
    try:
        return evaluate([rule.holds for rule in rules], rows)
    except duckdb.Error:
        _locate(rules, rows, documents, batch)
    except ExpressionError as error:
        raise DataError(f"no document was decided on: a rule {error}", file=batch.path) from error


def _locate(rules: Sequence[Rule], rows: pa.Table, documents: npt.NDArray[np.int64], batch: TextBatch) -> NoReturn:
    """Raise the error of the first rule that cannot be evaluated, at the first document where that is so."""
    for rule in rules:
        if _error_of(rule, rows) is None:
            continue
        low, high = 0, len(rows)  # the first `low` rows are fine, the first `high` are not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _error_of(rule, rows.slice(0, middle)) else (middle, high)
        error, i = _error_of(rule, rows.slice(low, 1)), int(documents[low])
        raise DataError(
            f"the rule `{printable(rule.label)}` cannot be evaluated for document {batch.ids[i]!r}: "
            f"{printable(error)}\n"
            f"  the rule is {rule.path}; TRY_CAST and TRY(...) give NULL instead",
            file=batch.path,
            line=int(batch.lines[i]),
        )
    raise DataError(
        "the rules can be evaluated one by one, but not together"
        "\n  lower the memory that they need: shorten texts that a rule makes",
        file=batch.path,
    )


def _error_of(rule: Rule, rows: pa.Table) -> str | None:
    try:
        evaluate([rule.holds], rows)
    except duckdb.Error as error:
        return first_lines(error)
    return None


def is_null(rule: Rule, batch: TextBatch, arrays: Arrays, i: int) -> DataError:
    """The error that a rule is NULL for a document of the batch."""
    empty = [".".join(c) for c in rule.columns if c[0] in arrays and not arrays[c[0]][c[1]][i].is_valid]
    because = f" ({', '.join(empty)} {'is' if len(empty) == 1 else 'are'} missing)" if empty else ""
    return DataError(
        f"the rule `{printable(rule.label)}` is NULL for document {batch.ids[i]!r}{because}\n"
        f"  the rule is {rule.path}; `missing: keep` or `missing: drop` says what that means, "
        "or COALESCE(..., value) in the rule",
        file=batch.path,
        line=int(batch.lines[i]),
    )
