"""Models as read, and what is none. Run: `pytest tests/models/test_fasttext.py`."""

from __future__ import annotations

import importlib.resources
import struct
from pathlib import Path

import fasttext
import numpy as np
import pytest

from dolma.errors import ConfigError
from dolma.kernels.fasttext import Classifier
from dolma.models import fasttext as reader
from dolma.models.fasttext import read_model

WORDS = [f"word{i}" for i in range(300)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """`dense.bin`, `quantised.ftz` (with norms, pruned) and `vectors.bin`, which is no classifier."""
    folder = tmp_path_factory.mktemp("models")
    lines = folder / "lines.txt"
    lines.write_text("".join(f"__label__{i % 3} {word} {word} é\n" for i, word in enumerate(WORDS)), encoding="utf-8")
    options = {"dim": 5, "epoch": 1, "minCount": 1, "thread": 1, "verbose": 0}
    model = fasttext.train_supervised(str(lines), minn=2, maxn=3, bucket=400, **options)
    model.save_model(str(folder / "dense.bin"))
    model.quantize(str(lines), dsub=2, qnorm=True, cutoff=350)
    model.save_model(str(folder / "quantised.ftz"))
    fasttext.train_unsupervised(str(lines), bucket=10, **options).save_model(str(folder / "vectors.bin"))
    return folder


def test_the_dictionary_is_the_librarys(folder):
    library, model = fasttext.load_model(str(folder / "dense.bin")), read_model(folder / "dense.bin")
    assert [model.name(i).decode() for i in range(model.n_words)] == library.words
    assert [f"__label__{label}" for label in model.labels] == library.labels


def test_matrices_are_the_librarys(folder):
    library, model = fasttext.load_model(str(folder / "dense.bin")), read_model(folder / "dense.bin")
    assert [model.inputs.row(i).tolist() for i in range(model.inputs.n_rows)] == library.get_input_matrix().tolist()
    assert [model.outputs.row(i).tolist() for i in range(model.outputs.n_rows)] == library.get_output_matrix().tolist()


def test_a_large_quantised_matrix_stays_so_and_has_the_same_rows(folder, monkeypatch):
    small = read_model(folder / "quantised.ftz")
    monkeypatch.setattr(reader, "EXPANDED_BYTES", 0)
    large = read_model(folder / "quantised.ftz")
    assert len(large.inputs.floats) == 0 < len(small.inputs.floats)
    for i in range(small.inputs.n_rows):
        assert small.inputs.row(i).tolist() == large.inputs.row(i).tolist()
    text = np.frombuffer(" ".join(WORDS[:50]).encode(), np.uint8)
    found = [Classifier(m).probabilities(text, np.array([0]), np.array([len(text)])) for m in (small, large)]
    assert np.allclose(*found, atol=1e-6)


def test_the_included_model_has_176_languages():
    with importlib.resources.as_file(importlib.resources.files("dolma.taggers") / "models/lid.176.ftz") as file:
        model = read_model(file)
    assert (len(model.labels), model.labels[0], model.dim, model.min_chars, model.max_chars) == (176, "en", 16, 2, 4)


@pytest.mark.parametrize("name", ["dense.bin", "quantised.ftz"])
def test_a_file_cut_anywhere_is_refused(folder, tmp_path, name):
    whole = (folder / name).read_bytes()
    cut = tmp_path / "cut.bin"
    for size in [*range(130), *range(130, len(whole), 97), len(whole) - 1]:
        cut.write_bytes(whole[:size])
        with pytest.raises(ConfigError, match=r"cut\.bin' is not a fastText model"):
            read_model(cut)


@pytest.mark.parametrize("name", ["dense.bin", "quantised.ftz"])
def test_a_damaged_file_is_read_or_refused(folder, tmp_path, name):
    whole = (folder / name).read_bytes()
    damaged = tmp_path / "damaged.bin"
    for at in [*range(8, 100), *range(100, len(whole), 211)]:
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 0x80]) + whole[at + 1 :])
        try:
            read_model(damaged)
        except ConfigError as error:
            assert "damaged.bin' is not a fastText model" in str(error)


def test_a_file_with_more_behind_it_is_refused(folder, tmp_path):
    (tmp_path / "more.bin").write_bytes((folder / "dense.bin").read_bytes() + b"\0\0")
    with pytest.raises(ConfigError, match="it goes on for 2 bytes behind its end"):
        read_model(tmp_path / "more.bin")


def test_vectors_are_refused(folder):
    with pytest.raises(ConfigError, match="a model of kind 'skipgram', expected a classifier"):
        read_model(folder / "vectors.bin")


def test_something_else_is_refused(tmp_path):
    (tmp_path / "text.bin").write_text("This is not a model.")
    with pytest.raises(ConfigError, match=r"text\.bin' is not a fastText model .* expected 793712314"):
        read_model(tmp_path / "text.bin")


def test_another_version_is_refused(folder, tmp_path):
    (tmp_path / "new.bin").write_bytes(struct.pack("<2i", 793712314, 13) + (folder / "dense.bin").read_bytes()[8:])
    with pytest.raises(ConfigError, match="its format has version 13, expected 11 or 12"):
        read_model(tmp_path / "new.bin")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no fastText model"):
        read_model(tmp_path / "none.bin")


def test_version_11_has_no_ngrams_of_characters(folder, tmp_path):
    (tmp_path / "old.bin").write_bytes(struct.pack("<2i", 793712314, 11) + (folder / "dense.bin").read_bytes()[8:])
    library, model = fasttext.load_model(str(tmp_path / "old.bin")), read_model(tmp_path / "old.bin")
    text = np.frombuffer(b"word7 word12 unknown", np.uint8)
    (found,) = Classifier(model).probabilities(text, np.array([0]), np.array([len(text)]))
    expected = {label: p for p, label in library.f.predict("word7 word12 unknown\n", -1, 0.0, "strict")}
    assert np.allclose(found, [expected[f"__label__{label}"] for label in model.labels], atol=1e-5)
