from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.exchange import END_OF_KEYS, MEMORY, partitions
from dolma.errors import DataError
from dolma.tokens.order import LAST_PLACE
from dolma.tokens.runs import PLACES, Documents, EncodedDocuments, Part, bounds_of, documents_of, plan_parts, read_part

Document = tuple[int, list[int]]
"""Place and ids."""


def write_pieces(work: Path, pieces: list[list[Document]], *, memory: int = MEMORY) -> list[EncodedDocuments]:
    written = []
    for number, documents in enumerate(pieces):
        ids = [np.array(ids, "<u4") for _, ids in documents]
        with EncodedDocuments(str(work), f"{number:06d}", dtype="uint32", memory=memory) as piece:
            for i, (place, _) in enumerate(documents):
                piece.add(
                    Documents(
                        ids=ids[i],
                        counts=np.array([len(ids[i])]),
                        places=np.array([place], np.uint64),
                        names=[f"{number}/{i}"],
                        sources=[f"source {number}"],
                        paths=[str(number)],
                        lines=np.array([i + 1]),
                        part=np.array([0]),
                        parts=np.array([1]),
                        offsets=np.array([0]),
                    )
                )
        written.append(piece)
    return written


def plan(work: Path, pieces: list[EncodedDocuments], *, limit: int, memory: int = MEMORY) -> list[Part]:
    (places,) = partitions(PLACES, str(work), [piece.places[""] for piece in pieces], [0, END_OF_KEYS])
    return plan_parts(str(work), places, limit=limit, memory=memory)


def read_all(
    work: Path, pieces: list[EncodedDocuments], parts: list[Part], *, memory: int = MEMORY
) -> list[list[tuple[str, list[int]]]]:
    """Per part, id and token ids of each document."""
    files = [piece.documents[""] for piece in pieces]
    found = []
    stretches = partitions(documents_of("uint32"), str(work), files, bounds_of(parts))
    for part, stretch in zip(parts, stretches, strict=True):
        documents = []
        for block in read_part(str(work), stretch, dtype="uint32", memory=memory):
            ids = np.split(np.frombuffer(block.ids, "<u4"), np.cumsum(block.counts))[:-1]
            rows = block.rows.to_pylist()
            documents += [(row["id"], some.tolist()) for row, some in zip(rows, ids, strict=True)]
            assert [f"{row['path']}/{row['line'] - 1}" for row in rows] == [row["id"] for row in rows]
            assert [f"source {row['path']}" for row in rows] == [row["source"] for row in rows]
        assert (len(documents), sum(len(ids) for _, ids in documents)) == (part.rows, part.tokens)
        found.append(documents)
    return found


@pytest.mark.property
@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 40) | st.integers(0, LAST_PLACE), st.integers(1, 6)), min_size=1, max_size=9),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 30),
    st.sampled_from([1, 600, MEMORY]),
)
def test_documents_come_out_by_place_whole_and_once(
    tmp_path_factory: pytest.TempPathFactory, corpus: list[list[tuple[int, int]]], limit: int, memory: int
) -> None:
    work = tmp_path_factory.mktemp("work")
    documents = [[(place, [r, i] * n) for i, (place, n) in enumerate(run)] for r, run in enumerate(corpus)]
    expected = sorted(
        ((place, r, i, ids) for r, run in enumerate(documents) for i, (place, ids) in enumerate(run)),
        key=lambda item: item[:3],
    )
    pieces = write_pieces(work, documents, memory=memory)
    parts = plan(work, pieces, limit=limit, memory=memory)
    assert parts == plan(work, pieces, limit=limit)
    found = [document for part in read_all(work, pieces, parts, memory=memory) for document in part]
    assert found == [(f"{r}/{i}", ids) for _, r, i, ids in expected]


def test_parts_keep_the_limit(tmp_path: Path) -> None:
    pieces = write_pieces(tmp_path, [[(place, [place] * 3) for place in range(10)]])
    assert [part.tokens for part in plan(tmp_path, pieces, limit=7)] == [6, 6, 6, 6, 6]


def test_ids_of_another_type_are_refused(tmp_path: Path) -> None:
    (piece,) = write_pieces(tmp_path, [[(1, [1, 2, 3])]])
    with pytest.raises(DataError, match=r'documents/000000: its header .*"uint32".*expected .*"uint16"'):
        partitions(documents_of("uint16"), str(tmp_path), [piece.documents[""]], [0, END_OF_KEYS])
