"""The size of a Bloom filter, and its file. Run: `pytest tests/dedupe/test_bloom_filter.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dolma.dedupers.bloom_filter import (
    FORMAT_VERSION,
    HASHING,
    NAME,
    Header,
    Shape,
    open_filter,
    shape_for,
    write_filter,
)
from dolma.errors import DataError
from dolma.kernels import bloom


def filled(shape: Shape, n_items: int, *, seed: int = 0) -> np.ndarray:
    bits = np.zeros(shape.n_blocks * bloom.BLOCK_WORDS, np.uint64)
    look_up(bits, shape, random_items(n_items, seed))
    return bits


def random_items(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 64, n, dtype=np.uint64)


def look_up(bits: np.ndarray, shape: Shape, items: np.ndarray, *, insert: bool = True) -> np.ndarray:
    units = np.arange(len(items), dtype=np.uint64)
    return bloom.look_up(
        bits, items, units, first_block=0, n_blocks=shape.n_blocks, n_hashes=shape.n_hashes, insert=insert
    )


@pytest.mark.parametrize(("n_items", "error"), [(40_000, 0.01), (150_000, 0.01), (150_000, 0.001)])
def test_a_filter_of_so_many_items_has_the_error_that_it_was_made_for(n_items: int, error: float) -> None:
    shape = shape_for(n_items, error=error)
    bits = filled(shape, n_items)
    seen = look_up(bits, shape, random_items(400_000, 1), insert=False).mean()
    assert shape.error(n_items) <= error
    assert seen == pytest.approx(shape.error(n_items), rel=0.15)
    assert shape.error_of(bloom.fills(bits)) == pytest.approx(seen, rel=0.15)


def test_of_some_items_the_filter_is_the_smallest_that_does() -> None:
    shape = shape_for(10_000_000, error=1e-5)
    smaller = Shape(n_blocks=shape.n_blocks - bloom.SLICES, n_hashes=shape.n_hashes)
    assert (
        shape.error(10_000_000)
        <= 1e-5
        < min(Shape(n_blocks=smaller.n_blocks, n_hashes=k).error(10_000_000) for k in range(1, 33))
    )


def test_a_filter_that_is_larger_than_it_need_be_sets_few_bits() -> None:
    assert shape_for(1000, error=1e-5, n_bytes=1 << 20).n_hashes == 2


def test_a_filter_of_given_bytes_is_rounded_up() -> None:
    assert shape_for(1000, error=1e-5, n_bytes=300_000).n_bytes == 1 << 19


def test_a_filter_that_is_too_small_has_the_best_number_of_hashes() -> None:
    shape = shape_for(1_000_000, error=1e-9, n_bytes=1 << 20)
    errors = [Shape(n_blocks=shape.n_blocks, n_hashes=k).error(1_000_000) for k in range(1, 33)]
    assert shape.error(1_000_000) == min(errors) > 1e-9


def header(shape: Shape) -> Header:
    return Header(
        format_version=FORMAT_VERSION,
        hashing=HASHING,
        n_blocks=shape.n_blocks,
        n_hashes=shape.n_hashes,
        n_items=500,
        false_positive_rate=1e-5,
        items={"by": "text"},
        inputs=["0f"],
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    shape = shape_for(500, error=1e-5)
    write_filter(str(tmp_path), header(shape), np.array_split(filled(shape, 500), 3))
    return tmp_path / NAME


def test_a_filter_is_read_as_it_was_written(written: Path) -> None:
    file = open_filter(str(written))
    file.check()
    shape = file.header.shape
    assert file.header == header(shape)
    whole = filled(shape, 500)
    assert np.array_equal(file.bits(0, shape.n_blocks), whole)
    assert np.array_equal(file.bits(7, 5), whole[7 * 8 : 12 * 8])


def test_a_flipped_byte_is_found(written: Path) -> None:
    data = bytearray(written.read_bytes())
    data[5000] ^= 1
    written.write_bytes(data)
    with pytest.raises(DataError, match=r"_filter\.bloom: holds other bytes than were written\n  fetch the file again"):
        open_filter(str(written)).check()


def test_a_filter_that_was_cut_off_is_found(written: Path) -> None:
    written.write_bytes(written.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"has 262,3\d\d bytes, its header says 262,3\d\d\n"):
        open_filter(str(written))


@pytest.mark.parametrize("data", [b"", b"dolmabf1", b"\x17\xf1\xf0\x81" * 100, b"dolmabf1" + b"\xff" * 40])
def test_other_files_are_no_filters(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "f"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"is no Bloom filter of this version of dolma\n  give the `_filter\.bloom`"):
        open_filter(str(path))


def test_a_filter_of_a_later_version_is_none(written: Path) -> None:
    written.write_bytes(written.read_bytes().replace(b'"format_version":1', b'"format_version":2'))
    with pytest.raises(DataError, match="is no Bloom filter of this version of dolma"):
        open_filter(str(written))


def test_a_filter_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file\n  a run of `dolma dedupe --method bloom` leaves its filter"):
        open_filter(str(tmp_path / "f"))
