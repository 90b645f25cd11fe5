"""One document on a terminal: what is known of it, its text with what was found in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from dolma.cli.printing import print_json, say, write
from dolma.cli.tables import cell_text, print_table
from dolma.printable import counted, printable

if TYPE_CHECKING:
    from dolma.lookup.choose import Near
    from dolma.lookup.diff import Diff
    from dolma.lookup.documents import Document
    from dolma.lookup.measured import Measured, Span
    from dolma.lookup.tokens import Place, Traced
    from dolma.lookup.why import Station, Verdict

_SPANS = 3  # of a list of spans, in a table
_SEEN = 10  # training steps


def show_stations(found: Sequence[Sequence[Station]], *, as_json: bool) -> None:
    """What became of some documents with one id."""
    import msgspec

    if as_json:
        print_json(msgspec.json.encode(found))
        return
    if len(found) > 1:
        say(f"{counted(len(found), 'document')} have this id", "")
    for stations in found:
        for station in stations:
            _show_station(station)


def _show_station(station: Station) -> None:
    by = f"written by {station.stage}: " if station.stage else ""
    say(
        f"{by}{printable(station.id)}",
        f"  {printable(station.file)}:{station.line}, source {printable(station.source)}, "
        f"{counted(station.bytes, 'byte')}",
        "",
    )
    if rows := _measured_rows(station.attributes):
        print_table(["set", "output", "value"], rows, title="measured", grouped=True)
    for copies in station.copies:
        say(f"{copies.set}: {_copies(copies)}")
    for verdict in station.verdicts:
        say(*_verdict(verdict))
    for stretch in station.tokens:
        say(f"{stretch.stage}: tokens {stretch.start:,} to {stretch.end:,} of {printable(stretch.shard)}")
    if station.seen:
        steps = sorted({one.step for one in station.seen})
        more = f" and {len(steps) - _SEEN:,} more" if len(steps) > _SEEN else ""
        say(f"training: seen in {counted(len(steps), 'step')}: {', '.join(map(str, steps[:_SEEN]))}{more}")
    say(*map(printable, station.unknown), "")


def show_traced(traced: Traced, *, as_json: bool) -> None:
    """A token, the text around it, and what is known of its document."""
    import msgspec

    if as_json:
        print_json(msgspec.json.encode(traced))
        return
    document = traced.document
    part = f", part {document.part + 1} of {document.parts}" if document.parts > 1 else ""
    say(
        f"{printable(document.id)}",
        f"  {printable(document.path)}:{document.line}, source {printable(document.source or 'unknown')}",
        f"  tokens {document.start:,} to {document.end:,} of {printable(document.shard)}{part}",
        f"  token {traced.at:,} of the document is {traced.token}, {printable(traced.text)!r}",
        "",
        f"{printable(traced.before)}⟦{printable(traced.text)}⟧{printable(traced.after)}",
        "",
    )
    for place in traced.places:
        say(f"from {printable(place)}")
    if rows := _measured_rows(traced.attributes):
        print_table(["set", "output", "value"], rows, title="measured", grouped=True)
    for unknown in traced.unknown:
        say(f"not known: {printable(unknown)}")


def show_places(places: Iterable[Place], *, as_json: bool) -> None:
    """Where the tokens of a document are."""
    import msgspec

    if as_json:
        for place in places:
            print_json(msgspec.json.encode(place))
        return
    table = [
        (one.shard, f"{one.start}-{one.end}", f"{one.part + 1}/{one.parts}", one.source or "", f"{one.path}:{one.line}")
        for one in places
    ]
    print_table(["shard", "tokens", "part", "source", "from"], table)


def _measured_rows(attributes: Measured) -> list[tuple[str, str, str]]:
    return [(name, output, value_text(value)) for name, of in attributes.items() for output, value in of.items()]


def _copies(copies: Any) -> str:
    if not copies.duplicate:
        others = (copies.cluster_size or 1) - 1
        return f"kept; {counted(others, 'other')} like it" if others else "no copy of another document"
    where = f" ({printable(copies.kept_at)})" if copies.kept_at else ""
    alike = "" if copies.similarity is None else f", similarity {copies.similarity:.3f}"
    kept = "another document" if copies.kept_id is None else f"{printable(copies.kept_id)}{where}"
    return f"a copy of {kept}{alike}"


def _verdict(verdict: Verdict) -> Iterator[str]:
    said = f"written {'once' if verdict.copies == 1 else f'{verdict.copies} times'}"
    yield f"{verdict.stage}: {said if verdict.reason is None else f'not written: {_REASONS[verdict.reason]}'}"
    for fired in verdict.fired:
        values = ", ".join(f"{name} is {value_text(value)}" for name, value in fired.values.items())
        sql = f" ({fired.sql})" if fired.sql and fired.sql not in fired.rule else ""
        yield f"  {printable(fired.rule + sql)}" + (f"; {values}" if values else "")
    if verdict.edits:
        yield f"  {counted(verdict.edits, 'span')} edited: {verdict.bytes:,} bytes became {verdict.edited_bytes:,}"
    if verdict.tokens is not None:
        yield f"  {counted(verdict.tokens, 'token')}"
    for place in verdict.written:
        yield f"  {printable(place)}"


_REASONS = {
    "rules": "rules drop it",
    "held out": "it is held out for validation",
    "sampled out": "it was not drawn for the sample",
}


def value_text(value: Any) -> str:
    """An attribute's value in a table; of spans and vectors their number and the first ones."""
    from dolma.lookup.measured import is_spans

    if not isinstance(value, list):
        return cell_text(value)
    if not is_spans(value):
        return f"{counted(len(value), 'number')}: {', '.join(f'{one:.4g}' for one in value[:_SPANS])}, …"
    shown = [f"{span['start']}-{span['end']}" + _score(span.get("score")) for span in value[:_SPANS]]
    more = [f"{len(value) - _SPANS:,} more"] if len(value) > _SPANS else []
    return f"{counted(len(value), 'span')}" + (f": {', '.join(shown + more)}" if value else "")


def _score(score: float | None) -> str:
    return "" if score is None or score == 1 else f" ({score:.4g})"


# --- texts -----------------------------------------------------------------------------------------------------------

_COLOURS = ("yellow", "cyan", "magenta", "green", "red", "blue")
_LISTED = 20  # spans below a text
_QUOTED = 60  # characters of one

Values = Callable[["Document"], "Measured"]


def show_documents(documents: Sequence[Document], values: Values, *, most: int | None, as_json: bool) -> None:
    """Texts, each with its spans; at most so many characters of each."""
    if not documents and not as_json:
        say("no document is like that")
    for document in documents:
        _show_document(document, values(document), most=most, as_json=as_json)


def show_nearest(
    below: Sequence[Near], above: Sequence[Near], given: str, values: Values, *, most: int | None, as_json: bool
) -> None:
    """Texts on both sides of a threshold, the nearest ones first."""
    import msgspec

    for title, side in (("below", below), ("at or above", above)):
        if not as_json:
            say(f"{title} {printable(given)}: {counted(len(side), 'document')}", "")
        for near in side:
            if as_json:
                shown = _as_json(near.document, values(near.document))
                print_json(msgspec.json.encode({"side": title, "value": near.value, **shown}))
            else:
                say(f"value {cell_text(near.value)}")
                _show_document(near.document, values(near.document), most=most, as_json=False)


def _as_json(document: Document, values: Measured) -> dict[str, Any]:
    import msgspec

    metadata = None if document.metadata is None else msgspec.json.decode(document.metadata)
    return {
        "id": document.id,
        "source": document.source,
        "file": document.shard.path,
        "line": document.line,
        "metadata": metadata,
        "attributes": values,
        "text": document.text,
    }


def _show_document(document: Document, values: Measured, *, most: int | None, as_json: bool) -> None:
    import msgspec

    from dolma.lookup.measured import spans_of

    if as_json:
        print_json(msgspec.json.encode(_as_json(document, values)))
        return
    n_bytes = len(document.text.encode())
    say(
        printable(document.id), f"  {printable(document.place)}, source {printable(document.source)}, {n_bytes:,} bytes"
    )
    if document.metadata is not None:
        say(f"  metadata {printable(document.metadata.decode(errors='replace'))[:_WIDEST]}")
    say("")
    spans = [one for one in spans_of(values) if most is None or one.start < most]
    text = document.text if most is None else document.text[:most]
    for line in _coloured(text, spans):
        write(line)
    if len(text) < len(document.text):
        say(f"... {len(document.text) - len(text):,} characters more; `--full` shows them")
    say("")
    for start, end, name, score in spans[:_LISTED]:
        quoted = document.text[start:end]
        shown = quoted if len(quoted) <= _QUOTED else quoted[:_QUOTED] + "…"
        say(f"  {name} {start}-{end}{_score(score)}: {printable(shown)}")
    if len(spans) > _LISTED:
        say(f"  and {counted(len(spans) - _LISTED, 'more span')}")
    say("")


_WIDEST = 300


def _coloured(text: str, spans: Sequence[Span]) -> list[str]:
    """The lines of a text; what spans cover has a colour for each output."""
    names = list(dict.fromkeys(name for _, _, name, _ in spans))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    inside = sorted((start, end, name) for start, end, name, _ in spans if start < end and start < len(text))
    pieces: list[tuple[str, str | None]] = []
    at = 0
    for start, end, name in inside:
        if end <= at:
            continue
        pieces.append((text[at:start], None))
        pieces.append((text[max(start, at) : end], colours[name]))
        at = end
    pieces.append((text[at:], None))
    lines = [""]
    for piece, colour in pieces:
        first, *others = piece.split("\n")
        lines[-1] += _styled(first, colour)
        lines += [_styled(other, colour) for other in others]
    return lines


def _styled(text: str, colour: str | None) -> str:
    shown = printable(text.replace("\t", "    "))
    return click.style(shown, fg=colour, reverse=True) if colour and shown else shown


# --- two versions ----------------------------------------------------------------------------------------------------


def show_diff(found: Diff, *, as_json: bool) -> None:
    """What differs between two versions."""
    import msgspec

    if as_json:
        print_json(msgspec.json.encode(found))
        return
    if found.settings:
        values = [(one.key, _setting(one.a), _setting(one.b)) for one in found.settings]
        print_table(["setting", "A", "B"], values, title="settings that differ")
    kinds = ("a", "b", "same", "changed", "renamed", "lost", "gained")
    units = [
        unit
        for unit in ("documents", "bytes", "tokens")
        if any(getattr(s.a, unit) + getattr(s.b, unit) for s in found.sources)
    ]
    for unit in units:
        rows = [[one.source, *(getattr(getattr(one, kind), unit) for kind in kinds)] for one in found.sources]
        if len(rows) > 1:
            rows.append(["all", *(sum(row[i + 1] for row in rows) for i in range(len(kinds)))])
        print_table(["source", "A", "B", *kinds[2:]], rows, title=unit)
    for kind, counts in found.reasons.items():
        lacks = "B" if kind == "lost" else "A"
        if counts:
            print_table(["documents", f"what {lacks} says"], [(n, reason) for reason, n in counts.items()], title=kind)
    for kind, ids in found.examples.items():
        if ids:
            say(f"{kind}, such as:", *(f"  {printable(id)}" for id in ids), "")
    if found.equal:
        say("both have the same documents")


def _setting(value: Any) -> str:
    import msgspec

    return "-" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
