"""Each method as one readable function, on documents in memory: what the stage must agree with."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dolma.kernels.reference import minhash
from dolma.kernels.reference.bloom import Filter
from dolma.kernels.reference.hashing import hash128
from dolma.kernels.reference.normalize import normalized
from dolma.kernels.reference.sentences import TERMINAL_PUNCTUATION
from dolma.kernels.reference.sentences import sentences as split_sentences
from dolma.kernels.reference.shingles import word_shingles
from dolma.kernels.reference.substrings import tokens
from dolma.kernels.reference.vectors import cosine, near

Gate = Callable[[str], bool]
Ranks = Sequence[float] | None


@dataclass(frozen=True)
class Sources:
    """The source of each document, and what follows from it; the first `n_references` documents are references."""

    of: Sequence[str]
    n_references: int = 0
    scope: str = "all"
    priority: Sequence[str] = ()

    def tier(self, row: int) -> int:
        """Which documents come before others: the lowest are kept."""
        if row < self.n_references:
            return 0
        return 1 + (list(self.priority).index(self.of[row]) if self.of[row] in self.priority else len(self.priority))

    def key(self, row: int, key: Any) -> Any:
        """What has to be equal in two documents of which one may be a copy."""
        return (self.of[row], key) if self.scope == "within-source" else key

    def count(self, row: int, kept: int) -> bool:
        """Whether one document may be a duplicate of the other."""
        return self.scope != "across-sources" or self.of[row] != self.of[kept]


def gate(*, skip_empty: bool = True, min_length: int = 0, min_words: int = 0) -> Gate:
    """Whether a key takes part; others are never duplicates. Length in code points, words as by `str.split`."""

    def takes_part(key: str) -> bool:
        if skip_empty and not key.strip():
            return False
        return len(key) >= min_length and len(key.split()) >= min_words

    return takes_part


def duplicate_documents(
    ids: Sequence[str],
    keys: Sequence[str | None],
    takes_part: Gate,
    *,
    keep: str = "first",
    ranks: Ranks = None,
    sources: Sources | None = None,
) -> list[dict[str, Any]]:
    """The outputs for each document, in order. A key of None is a record without the field.

    >>> duplicate_documents(["a", "b"], ["x", "x"], gate())[1]
    {'duplicate': True, 'cluster': 0, 'cluster_size': 2, 'kept_id': 'a'}
    """
    members: dict[Any, list[int]] = {}
    sources = sources or Sources([""] * len(ids))
    for row, key in enumerate(keys):
        if key is not None and takes_part(key):
            members.setdefault(sources.key(row, key), []).append(row)
    return answers(ids, list(members.values()), keep=keep, ranks=ranks, sources=sources)


def answers(
    ids: Sequence[str],
    clusters: Iterable[list[int]],
    *,
    keep: str,
    ranks: Ranks,
    sources: Sources,
) -> list[dict[str, Any]]:
    """What is said of each document, where `clusters` are rows in corpus order. The highest of `ranks` is kept."""
    found: list[dict[str, Any]] = [
        {"duplicate": False, "cluster": None, "cluster_size": 1, "kept_id": None} for _ in ids
    ]
    for cluster in clusters:
        if len(cluster) == 1:
            continue
        kept = kept_of(cluster, keep, ranks, sources)
        for row in cluster:
            duplicate = row != kept and (kept is None or sources.count(row, kept))
            found[row] = {
                "duplicate": duplicate,
                "cluster": cluster[0],
                "cluster_size": len(cluster),
                "kept_id": ids[kept] if duplicate and kept is not None else None,
            }
    return found


def kept_of(cluster: list[int], keep: str, ranks: Ranks, sources: Sources) -> int | None:
    """The row that is kept of a cluster; None where none is.

    >>> alike = Sources(["a"] * 6)
    >>> kept_of([3, 5], "last", None, alike), kept_of([0, 1], "longest", [1.0, 2.0], alike)
    (5, 1)
    """
    lowest = min(map(sources.tier, cluster))
    cluster = [row for row in cluster if sources.tier(row) == lowest]
    if keep == "none" and lowest > 0:
        return None
    if keep == "last":
        return cluster[-1]
    return cluster[0] if ranks is None else max(cluster, key=lambda row: (ranks[row], -row))


def near_duplicates(
    ids: Sequence[str],
    shingles: Sequence[Sequence[int]],
    *,
    bands: int,
    rows: int,
    seed: int,
    threshold: float,
    verify: bool = True,
    link: str = "components",
    keep: str = "first",
    ranks: Ranks = None,
    sources: Sources | None = None,
) -> list[dict[str, Any]]:
    """The outputs for each document, given its shingles: those that share a band and are alike are joined."""
    permutations = minhash.permutations(bands * rows, seed)
    signatures = [minhash.signature(one, permutations) for one in shingles]
    buckets: dict[Any, list[int]] = {}
    sources = sources or Sources([""] * len(ids))
    for row, signature in enumerate(signatures):
        for band in range(bands if shingles[row] else 0):
            buckets.setdefault(sources.key(row, minhash.band(signature, band, rows)), []).append(row)
    leaders = minhash.joined(buckets.values(), shingles, threshold if verify else 0.0)
    clusters = [[row for row, leader in enumerate(leaders) if leader == first] for first in sorted(set(leaders))]
    found = answers(ids, clusters, keep=keep, ranks=ranks, sources=sources)
    least = threshold if link == "kept" else -2.0
    return with_similarity(
        found, clusters, lambda i, j: minhash.jaccard(shingles[i], shingles[j]), least, keep, ranks, sources
    )


def with_similarity(
    found: list[dict[str, Any]],
    clusters: Iterable[list[int]],
    similarity: Callable[[int, int], float],
    least: float,
    keep: str,
    ranks: Ranks,
    sources: Sources,
) -> list[dict[str, Any]]:
    """The same with the similarity to the kept document; below the `least` a document is no duplicate of it."""
    found = [row | {"similarity": None} for row in found]
    for cluster in clusters:
        kept = kept_of(cluster, keep, ranks, sources)
        for row in cluster:
            if kept is not None and row != kept:
                found[row]["similarity"] = similarity(row, kept)
                if found[row]["similarity"] < least:
                    found[row] |= {"duplicate": False, "kept_id": None}
    return found


def near_vectors(
    ids: Sequence[str],
    vectors: Sequence[Sequence[float] | None],
    *,
    threshold: float,
    link: str = "components",
    keep: str = "first",
    ranks: Ranks = None,
    sources: Sources | None = None,
    cells: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """The outputs for each document, given its vector, None where it takes no part; two `cells` are not compared.

    >>> near_vectors(["a", "b"], [[1, 0], [2, 0]], threshold=0.9)[1]["similarity"]
    1.0
    """
    sources = sources or Sources([""] * len(ids))
    groups: dict[Any, list[int]] = {}
    for row, vector in enumerate(vectors):
        if vector is not None:
            groups.setdefault(sources.key(row, cells[row] if cells else 0), []).append(row)
    clusters = []
    for rows in groups.values():
        leaders = near([vectors[row] or () for row in rows], threshold)
        clusters += [[rows[i] for i, of in enumerate(leaders) if of == first] for first in sorted(set(leaders))]
    found = answers(ids, clusters, keep=keep, ranks=ranks, sources=sources)
    least = threshold if link == "kept" else -2.0
    return with_similarity(
        found, clusters, lambda i, j: cosine(vectors[i] or (), vectors[j] or ()), least, keep, ranks, sources
    )


def paragraphs(text: str, separator: str = "\n") -> list[tuple[int, int, str]]:
    """Start, end and key of each paragraph that is not blank, in code points. `text[start:end]` has its separator.

    >>> paragraphs("a\\n\\nb")
    [(0, 2, 'a'), (3, 4, 'b')]
    """
    found, start = [], 0
    for piece in text.split(separator):
        end = min(start + len(piece) + len(separator), len(text))
        if piece.strip():
            found.append((start, end, piece))
        start = end
    return found


def duplicate_paragraphs(texts: Sequence[str], takes_part: Gate, words: Container[str] = ()) -> list[dict[str, Any]]:
    """`spans`, `fraction`, `n_paragraphs` and `n_duplicates` of each document, in order; `words` as in `normalize`.

    >>> duplicate_paragraphs(["a\\nb", "b"], gate())[1]["spans"]
    [(0, 1, 1.0)]
    """
    seen: set[str] = set()
    answers = []
    for text in texts:
        spans: list[tuple[int, int, float]] = []
        found = paragraphs(text)
        for start, end, piece in found:
            key = normalized(piece, words)
            if takes_part(key):
                if key in seen:
                    spans.append((start, end, 1.0))
                seen.add(key)
        n_inside = sum(end - start for start, end, _ in spans)
        answers.append(
            {
                "spans": spans,
                "fraction": n_inside / len(text) if text else 0.0,
                "n_paragraphs": len(found),
                "n_duplicates": len(spans),
            }
        )
    return answers


def sentences(text: str) -> list[tuple[int, int, str, int, bool]]:
    """Start, end, key, line, and whether a newline follows, of each sentence, in code points.

    The first sentence of a line begins where the line does, and each ends where the next one begins, or the line ends.

    >>> sentences(" Yes! No\\n")
    [(0, 6, 'Yes!', 0, False), (6, 8, 'No', 0, True)]
    """
    found, start = [], 0
    for line, piece in enumerate(text.split("\n")):
        at, begins = start, []
        keys = split_sentences(piece, marks=TERMINAL_PUNCTUATION | {"…"})
        for key in keys:
            begins.append(text.index(key, at))
            at = begins[-1] + len(key)
        start += len(piece) + 1
        begins, ends = [start - len(piece) - 1, *begins[1:]], [*begins[1:], start - 1]
        for first, end, key in zip(begins, ends, keys, strict=False):
            found.append((first, end, key, line, end == start - 1 < len(text)))
    return found


def repeated_windows(
    texts: Sequence[str],
    takes_part: Callable[[list[str]], bool],
    *,
    by: str,
    window: int,
    separator: str = "\n",
    words: Container[str] = (),
    min_documents: int = 1,
    keep: str = "first",
    sources: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """`spans`, `fraction`, how many units and duplicates of each document; `sources`, where copies count within them.

    >>> repeated_windows(["A! B!", "A! B! C!"], bool, by="sentences", window=2)[1]["spans"]
    [(0, 3, 2.0), (3, 6, 2.0)]
    """
    split = [
        sentences(text)
        if by == "sentences"
        else [(*unit, i, False) for i, unit in enumerate(paragraphs(text, separator))]
        for text in texts
    ]
    keys = [[normalized(unit[2], words) for unit in units] for units in split]
    places: dict[Any, list[tuple[int, int]]] = {}
    for document, of_document in enumerate(keys):
        for i in range(len(of_document) - window + 1):
            key = of_document[i : i + window]
            if takes_part(key):
                places.setdefault((sources and sources[document], *key), []).append((document, i))
    scores: list[dict[int, int]] = [{} for _ in texts]
    for found in places.values():
        n_documents = len({document for document, _ in found})
        if len(found) > 1 and n_documents >= min_documents:
            for document, i in found[keep == "first" :]:
                for unit in range(i, i + window):
                    scores[document][unit] = max(scores[document].get(unit, 0), n_documents)
    answers = []
    for text, units, of_units in zip(texts, split, scores, strict=True):
        stay = {unit[3] for i, unit in enumerate(units) if i not in of_units}
        spans = []
        for i in sorted(of_units):
            start, end, _, line, newline = units[i]
            spans.append((start, end + (newline and line not in stay), float(of_units[i])))
        answers.append(
            {
                "spans": spans,
                "fraction": sum(end - start for start, end, _ in spans) / max(len(text), 1),
                f"n_{by}": len(units),
                "n_duplicates": len(spans),
            }
        )
    return answers


def filtered(
    texts: Sequence[str],
    filter: Filter,
    takes_part: Gate,
    *,
    by: str,
    separator: str = "\n",
    word_ngrams: int = 0,
    min_ngram: int = 1,
    stride: int = 1,
    threshold: float = 1.0,
    insert: bool = True,
) -> list[dict[str, Any]]:
    """What a Bloom filter says of each document, in order: `duplicate`, `overlap`, `spans` and `fraction`.

    >>> from dolma.kernels.reference.bloom import Filter
    >>> filtered(["a\\nb", "b"], Filter(n_blocks=4096, n_hashes=8), gate(), by="paragraphs")[1]["spans"]
    [(0, 1, 1.0)]
    """
    answers = []
    for text in texts:
        parts = [(0, len(text), text)] if by == "text" else paragraphs(text, separator)
        spans, n_items, n_known = [], 0, 0
        for start, end, key in (part for part in parts if takes_part(part[2])):
            items = [hash128(key.encode())[0]]
            if word_ngrams:
                items = word_shingles(key, word_ngrams, least=min_ngram, stride=stride)
            known = sum(filter.look_up(items, insert=insert))
            n_items, n_known = n_items + len(items), n_known + known
            if items and known / len(items) >= threshold:
                spans.append((start, end, known / len(items)))
        answers.append(
            {
                "duplicate": n_items > 0 and n_known / n_items >= threshold,
                "overlap": n_known / max(n_items, 1),
                "spans": spans,
                "fraction": sum(end - start for start, end, _ in spans) / max(len(text), 1),
            }
        )
    return answers


def repeated_text(
    texts: Sequence[str],
    *,
    min_tokens: int = 50,
    min_bytes: int | None = None,
    keep: str = "first",
    snap: str = "",
    within_documents: bool = False,
    groups: Sequence[str] | None = None,
) -> list[list[tuple[int, int]]]:
    """The repeated stretches of each document, in code points; documents are compared with those of their group.

    >>> repeated_text(["to be or not", "he has to be or not to be"], min_tokens=3)
    [[], [(7, 19)]]
    """
    groups = groups or [""] * len(texts)
    found: dict[tuple[str, bytes], list[tuple[int, int, int]]] = {}
    for document, text in enumerate(texts):
        for start, end, stretch in _stretches(text, min_tokens, min_bytes):
            found.setdefault((groups[document], stretch), []).append((document, start, end))
    covered: list[set[int]] = [set() for _ in texts]
    for occurrences in found.values():
        kept = occurrences[:1] if within_documents else [one for one in occurrences if one[0] == occurrences[0][0]]
        if len(kept) < len(occurrences):
            for document, start, end in occurrences if keep == "none" else occurrences[len(kept) :]:
                covered[document].update(range(start, end))
    return [_snapped(text, inside, snap) for text, inside in zip(texts, covered, strict=True)]


def _stretches(text: str, min_tokens: int, min_bytes: int | None) -> Iterable[tuple[int, int, bytes]]:
    """The shortest stretches that count: their whole characters, and their bytes."""
    encoded = text.encode()
    if min_bytes is None:
        found = tokens(text)
        for (first, _), (_, last) in zip(found, found[min_tokens - 1 :], strict=False):
            yield first, last, text[first:last].encode()
        return
    borders = [len(text[:i].encode()) for i in range(len(text) + 1)]
    for start in range(len(encoded) - min_bytes + 1):
        first = bisect.bisect_left(borders, start)
        last = bisect.bisect_right(borders, start + min_bytes) - 1
        yield first, last, encoded[start : start + min_bytes]


def _snapped(text: str, inside: Container[int], snap: str) -> list[tuple[int, int]]:
    """The longest spans of these characters, cut to whole words or lines."""
    starts = ends = list(range(len(text) + 1))
    if snap == "words":
        starts, ends = ([span[side] for span in tokens(text)] for side in (0, 1))
    elif snap == "lines":
        after = [i + 1 for i, character in enumerate(text) if character == "\n"]
        starts, ends = [0, *after], [*after, len(text)]
    spans = []
    for start in range(len(text)):
        if start in inside and (start == 0 or start - 1 not in inside):
            end = next(i for i in range(start, len(text) + 1) if i == len(text) or i not in inside)
            first = min((i for i in starts if i >= start), default=end)
            last = max((i for i in ends if i <= end), default=start)
            spans += [(first, last)] if first < last else []
    return spans
