"""The index of keys. Run: `pytest tests/lookup/test_keys.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dolma.data.shards import Cut
from dolma.data.streams import Entry as File
from dolma.lookup.keys import Entry, Found, KeyIndex

KEYS = st.lists(st.lists(st.text(alphabet="ab\ud800é", max_size=3), max_size=20), max_size=4)


def files(n: int, *, version: str = "1") -> list[File]:
    return [File(path=f"f{i}", size=i, version=version) for i in range(n)]


def read(keys: list[list[str]]) -> object:
    def of(number: int) -> Iterator[tuple[Entry | None, list[str]]]:
        for first in range(0, len(keys[number]), 3):
            yield (
                Entry(first, first // 3, Cut(first * 10, None, first + 1, first * 10)),
                keys[number][first : first + 3],
            )

    return of


@given(KEYS)
def test_every_key_is_found_where_it_stands_and_no_other(keys: list[list[str]]) -> None:
    index = KeyIndex.made(None, files(len(keys)), read(keys))
    for key in {"absent", *(key for of in keys for key in of)}:
        expected = [Found(file, row) for file, of in enumerate(keys) for row, other in enumerate(of) if other == key]
        assert index.find(key) == expected


@given(KEYS)
def test_a_file_is_entered_at_the_last_entry_before_a_row(keys: list[list[str]]) -> None:
    index = KeyIndex.made(None, files(len(keys)), read(keys))
    for file, of in enumerate(keys):
        for row in range(len(of)):
            entry = index.entry(file, row=row)
            assert entry == Entry(row // 3 * 3, row // 3, Cut(row // 3 * 30, None, row // 3 * 3 + 1, row // 3 * 30))
            assert index.entry(file, line=row + 1) == entry


def test_an_index_is_kept_while_its_files_are_the_same(tmp_path: Path) -> None:
    KeyIndex.made(str(tmp_path), files(1), read([["a"]]))
    kept = KeyIndex.there(str(tmp_path), files(1))
    assert kept is not None and kept.find("a") == [Found(0, 0)]
    assert KeyIndex.there(str(tmp_path), files(1, version="2")) is None
    assert KeyIndex.there(str(tmp_path), files(1), about="other settings") is None


def test_what_was_an_index_of_other_files_goes(tmp_path: Path) -> None:
    for version in ("1", "2"):
        KeyIndex.made(str(tmp_path), files(1, version=version), read([["a"]]))
    assert len(list((tmp_path / "keys").iterdir())) == len(list((tmp_path / "entries").iterdir())) == 1


def test_a_damaged_note_is_no_index(tmp_path: Path) -> None:
    KeyIndex.made(str(tmp_path), files(1), read([["a"]]))
    (tmp_path / "index.json").write_text("{")
    assert KeyIndex.there(str(tmp_path), files(1)) is None


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    index = KeyIndex.made(str(tmp_path / "file" / "below"), files(1), read([["a"]]))
    assert index.find("a") == [Found(0, 0)]
