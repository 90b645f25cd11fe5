"""Cosines and clusters of vectors, and their twin. Run: `pytest tests/kernels/test_vectors.py`."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.kernels import vectors
from dolma.kernels.reference import vectors as reference

numbers = st.floats(-3, 3, width=32).map(lambda value: round(value, 1))


def near(array: np.ndarray, threshold: float) -> list[int]:
    found = vectors.near(array, vectors.squares(array), np.arange(len(array)), threshold=threshold)
    return found.leaders.tolist()


@st.composite
def some_vectors(draw: st.DrawFn) -> np.ndarray:
    size = draw(st.integers(1, 9))
    rows = draw(st.lists(st.lists(numbers, min_size=size, max_size=size).filter(any), min_size=1, max_size=14))
    return np.array(rows, np.float32)


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(array=some_vectors(), threshold=st.sampled_from([0.3, 0.8, 0.95, 1.0]), block=st.integers(1, 5))
def test_clusters_and_cosines_are_those_of_the_twin(array: np.ndarray, threshold: float, block: int) -> None:
    rows = array.tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "BLOCK", block)
        assert near(array, threshold) == reference.near(rows, threshold)
        cells = vectors.nearest(array, vectors.squares(array), vectors.normal(array, vectors.squares(array))[:4])
    centres = vectors.normal(array, vectors.squares(array))[:4].tolist()
    assert cells.tolist() == [reference.nearest(row, centres) for row in rows]
    left, right = np.divmod(np.arange(len(rows) ** 2), len(rows))
    found = vectors.cosines(array, vectors.squares(array), left, right).tolist()
    assert found == [reference.cosine(rows[i], rows[j]) for i, j in zip(left, right, strict=True)]


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 600))
def test_a_product_is_as_near_the_cosine_as_is_said(seed: int, size: int) -> None:
    array = np.random.default_rng(seed).normal(size=(6, size)).astype(np.float32)
    squares = vectors.squares(array)
    units = vectors.normal(array, squares)
    left, right = np.divmod(np.arange(36), 6)
    exact = vectors.cosines(array, squares, left, right)
    assert np.abs(vectors.product(units, units).reshape(-1) - exact).max() <= vectors.error(size)


@pytest.mark.parametrize("sign", [-1, 1])
def test_what_blas_is_off_by_decides_nothing(monkeypatch: pytest.MonkeyPatch, sign: int) -> None:
    rng = np.random.default_rng(5)
    middle = rng.normal(size=48)
    array = (middle + rng.normal(size=(300, 48)) * 0.35).astype(np.float32)
    squares = vectors.squares(array)
    cosines = np.sort(vectors.cosines(array, squares, *np.triu_indices(len(array), 1)))
    threshold = float(cosines[-40])  # a pair is just there, another is just below
    exact, cells = near(array, threshold), vectors.nearest(array, squares, vectors.normal(array, squares)[:9])
    assert len(set(exact)) < len(array)
    product = vectors.product
    off = sign * 0.99 * (vectors.error(48) - 1e-7)
    noise = np.random.default_rng(1)
    monkeypatch.setattr(
        vectors, "product", lambda rows, columns: (product(rows, columns) + off * noise.choice([-1, 1])).astype("f4")
    )
    assert near(array, threshold) == exact
    assert vectors.nearest(array, squares, vectors.normal(array, squares)[:9]).tolist() == cells.tolist()


def test_one_thread_and_four_give_the_same() -> None:
    code = (
        "import numpy as np, hashlib\n"
        "from dolma.kernels import vectors\n"
        "rng = np.random.default_rng(3)\n"
        "array = np.repeat(rng.normal(size=(300, 96)), 7, axis=0) + rng.normal(size=(2100, 96)) * 0.23\n"
        "array = array.astype(np.float32)\n"
        "squares = vectors.squares(array)\n"
        "found = vectors.near(array, squares, np.arange(len(array)), threshold=0.95)\n"
        "centres = vectors.centres(array, squares, n=20, rounds=10)\n"
        "cells = vectors.nearest(array, squares, centres)\n"
        "parts = [found.leaders.tobytes(), str(found.alike).encode(), centres.tobytes(), cells.tobytes()]\n"
        "print(hashlib.sha256(b'|'.join(parts)).hexdigest(), found.alike)\n"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OPENBLAS_NUM_THREADS": n, "OMP_NUM_THREADS": n},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for n in ("1", "4")
    }
    assert len(answers) == 1
    assert int(answers.pop().split()[1]) > 0


def test_equal_vectors_have_a_cosine_of_one_whatever_their_length() -> None:
    row = np.random.default_rng(0).normal(size=(1, 77)).astype(np.float32)
    array = np.concatenate([row, row, row * np.float32(2), row * np.float32(0.25), np.float32(1e-38) * row])
    found = vectors.cosines(array, vectors.squares(array), np.zeros(3, np.int64), np.array([1, 2, 3]))
    assert found.tolist() == [1.0, 1.0, 1.0]
    assert near(array, 0.999) == [0] * 5


def test_cells_gather_what_is_near() -> None:
    rng = np.random.default_rng(2)
    middles = rng.normal(size=(5, 32))
    array = (np.repeat(middles, 40, axis=0) + rng.normal(size=(200, 32)) * 0.1).astype(np.float32)
    array = array[rng.permutation(200)]
    squares = vectors.squares(array)
    centres = vectors.centres(array, squares, n=12, rounds=10)
    assert np.allclose(vectors.norms(centres), 1, atol=1e-6)
    cells = vectors.nearest(array, squares, centres)
    of_middle = (array @ middles.T).argmax(axis=1)
    assert all(len(set(of_middle[cells == cell])) == 1 for cell in set(cells))
