"""Windows, packing, masks, documents. Run: pytest tests/training/data/test_windows.py"""

from __future__ import annotations

import gc
import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma.errors import DataError
from dolma.training.data.loader import IGNORED, Instances, Loader
from dolma.training.data.shards import ShardTokens, mask_path, open_shards
from dolma.training.data.windows import ConcatenatedWindows, PackedWindows, repeats_itself
from tests.training.conftest import some_ids, write_shards

EOS = 0


def shard_of(*lengths: int) -> ShardTokens:
    """Documents of these many tokens, the last of each being the end-of-text token."""
    ids = np.concatenate([np.append(np.arange(1, n), EOS) for n in lengths] or [np.zeros(0, dtype=np.int64)])
    return ShardTokens("no such shard", ids, eos_id=EOS, eos_ends_documents=True)


def test_documents_are_numbered_within_a_window() -> None:
    windows = ConcatenatedWindows([shard_of(3, 5, 4)], length=6)
    assert windows[0].documents.tolist() == [0, 0, 0, 1, 1, 1]
    assert windows[1].documents.tolist() == [0, 0, 1, 1, 1, 1]


def test_rows_decide_where_documents_end_if_the_text_may_hold_the_end_token(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "part-00000.csv.gz", "wt") as rows:
        rows.write("0,4,a,x,1\n4,6,b,x,2\n")
    ids = np.array([1, EOS, 2, EOS, 3, EOS])
    shard = ShardTokens(str(tmp_path / "part-00000.npy"), ids, eos_id=EOS, eos_ends_documents=False)
    assert shard.documents(0, 6).tolist() == [0, 0, 0, 0, 1, 1]
    assert shard.boundaries.tolist() == [0, 4, 6]


@given(st.lists(st.lists(st.integers(1, 30), max_size=12), min_size=1, max_size=3), st.integers(1, 12))
def test_packing_holds_every_token_once_and_keeps_documents_whole(documents: list[list[int]], length: int) -> None:
    shards = [shard_of(*lengths) for lengths in documents]
    windows = PackedWindows(shards, length=length, padding=EOS)
    stretches = [stretch for i in range(len(windows)) for stretch in windows.stretches(i)]
    for number, lengths in enumerate(documents):
        pieces = sorted((s.start, s.end) for s in stretches if s.shard == number)
        assert [token for start, end in pieces for token in range(start, end)] == list(range(sum(lengths)))
        ends = set(np.cumsum(lengths).tolist())
        assert all(end in ends or end - start == length for start, end in pieces)
    assert all(
        int(windows[i].valid.sum()) == sum(s.end - s.start for s in windows.stretches(i)) for i in range(len(windows))
    )


def test_packing_is_best_fit_decreasing() -> None:
    windows = PackedWindows([shard_of(2, 7, 5, 3, 3)], length=10, padding=EOS)
    sizes = sorted(sorted(s.end - s.start for s in windows.stretches(i)) for i in range(len(windows)))
    assert sizes == [[2, 3, 5], [3, 7]]


def test_long_documents_may_be_cut_off_at_the_end_of_a_window() -> None:
    shards = [shard_of(12, 3, 5), shard_of(8, 4)]
    windows = PackedWindows(shards, length=5, padding=EOS, truncate=True)
    found = sorted((s.shard, s.start, s.end) for n in range(len(windows)) for s in windows.stretches(n))
    assert found == [(0, 0, 5), (0, 12, 15), (0, 15, 20), (1, 0, 5), (1, 8, 12)]
    assert windows.dropped_tokens == 7 + 3
    assert PackedWindows(shards, length=5, padding=EOS).dropped_tokens == 0


def test_padding_is_of_no_document_and_never_a_label() -> None:
    windows = PackedWindows([shard_of(3, 2)], length=8, padding=9)
    assert windows[0].ids.tolist() == [1, 2, EOS, 1, EOS, 9, 9, 9]
    assert windows[0].documents.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    batch = Loader(Instances.all_of(windows, "train"), batch_size=1, seed=0).batch(1)
    assert batch.labels.tolist() == [[2, EOS, 1, EOS, IGNORED, IGNORED, IGNORED, IGNORED]]


def test_masked_tokens_are_no_labels(tmp_path: Path) -> None:
    tokens = write_shards(tmp_path / "tokens", [some_ids(8)])
    mask = np.array([1, 1, 0, 0, 1, 1, 1, 0], dtype=bool)
    mask.tofile(mask_path(f"{tokens}/part-00000.npy"))
    windows = ConcatenatedWindows(open_shards(tokens).shards, length=8)
    batch = Loader(Instances.all_of(windows, "train"), batch_size=1, seed=0).batch(1)
    ids = some_ids(8)
    assert batch.labels[0].tolist() == [ids[1], IGNORED, IGNORED, ids[4], ids[5], ids[6], IGNORED, IGNORED]


def test_a_mask_of_another_length_is_an_error(tmp_path: Path) -> None:
    tokens = write_shards(tmp_path / "tokens", [some_ids(8)])
    np.ones(7, dtype=bool).tofile(mask_path(f"{tokens}/part-00000.npy"))
    with pytest.raises(DataError, match=r"has 7 bytes, expected 8: one per token of part-00000\.npy"):
        open_shards(tokens)


@given(st.lists(st.integers(0, 2), max_size=150))
def test_a_window_repeats_itself_if_a_period_stands_32_times(ids: list[int]) -> None:
    slow = any(
        all(ids[start + k] == ids[start + k % period] for k in range(32 * period))
        for period in range(1, 14)
        for start in range(len(ids) - 32 * period + 1)
    )
    assert repeats_itself(np.array(ids, dtype=np.int64)) == slow


@pytest.mark.parametrize(("period", "repeats"), [(1, False), (1, True), (5, False), (5, True), (13, True), (14, True)])
def test_the_repetition_filter_knows_periods_of_1_to_13(period: int, repeats: bool) -> None:
    unit = np.arange(1, period + 1)
    ids = np.concatenate([[50, 51], np.tile(unit, 32 if repeats else 31), [52]])
    assert repeats_itself(ids) == (repeats and period < 14)


def test_a_window_that_repeats_itself_is_not_learnt() -> None:
    shard = ShardTokens("no such shard", np.array([5] * 40 + list(range(40))), eos_id=EOS, eos_ends_documents=True)
    loader = Loader(
        Instances.all_of(ConcatenatedWindows([shard], length=40), "train"), batch_size=2, seed=0, repetition_filter=True
    )
    batch = loader.batch(1)
    learnt = [bool((labels != IGNORED).any()) for labels in batch.labels]
    assert learnt == [int(ids[0]) != 5 for ids in batch.ids]


def test_processes_share_a_batch() -> None:
    loader = Loader(Instances.all_of(ConcatenatedWindows([shard_of(200)], length=4), "train"), batch_size=6, seed=1)
    whole = loader.batch(3).ids
    parts = [loader.batch(3, rank=rank, world_size=2).ids for rank in range(2)]
    assert np.array_equal(np.stack(parts, axis=1).reshape(6, 4), whole)


@pytest.mark.parametrize("n", [2_000, 20_000])
def test_packed_windows_keep_at_most_12_bytes_of_a_document(n: int) -> None:
    """4 each for its border, for where it begins, and, with one document in a window, for the window."""
    sizes = np.random.default_rng(0).integers(1, 300, n)
    ids = np.ones(int(sizes.sum()), dtype=np.uint16)
    ids[np.cumsum(sizes) - 1] = EOS
    shards = [ShardTokens("no such shard", ids, eos_id=EOS, eos_ends_documents=True)]
    gc.collect()
    tracemalloc.start()
    try:
        windows = PackedWindows(shards, length=256, padding=EOS)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    n_pieces = int(np.ceil(sizes / 256).sum())
    assert sum(len(windows.stretches(i)) for i in range(len(windows))) == n_pieces
    assert kept <= 12 * n_pieces + 8_000
