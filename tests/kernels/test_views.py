"""Views agree with their twins on every text. Run: `pytest tests/kernels/test_views.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels import views
from dolma.kernels.reference import hashing as reference_hashing
from dolma.kernels.reference import views as reference
from dolma.kernels.views import code_points, code_points_at, line_spans, paragraph_spans, word_spans

ODD = "\n\n\n\t \r\x0b\x0c\x1c\x1d\x1e\x1f\x20\x85\xa0\u1680\u2000\u200b\u2028\u2029\u202f\u3000\ufeff\x00"
texts = st.lists(
    st.one_of(
        st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40),
        st.text(alphabet=st.sampled_from(ODD + "abcZ09#.…-éß漢字🎉\u0301ا"), max_size=60),
        st.text(alphabet=st.sampled_from("ab \n"), max_size=60),
        st.text(alphabet=st.sampled_from("aZ9#.. é\n"), min_size=60, max_size=200),
        st.lists(st.sampled_from(["a" * 62, "b" * 70 + ".", "c.", "#", " ", "é", "1,", "\n"]), max_size=9).map("".join),
    ),
    max_size=6,
)
checked = settings(max_examples=100, deadline=None)
# Near the end of the buffer words are read one by one: what comes after a document decides how it is read.
PADDING = "words behind it, " * 8


@pytest.mark.property
@checked
@given(texts, st.booleans())
def test_words_are_those_of_str_split(documents, padded):
    documents = [*documents, PADDING] if padded else documents
    words = TextBatch.of(documents).view(word_spans)
    base = TextBatch.of(documents).offsets
    for i, text in enumerate(documents):
        mine = slice(words.index[i], words.index[i + 1])
        expected = reference.word_spans(text)
        assert [word.text for word in expected] == text.split()
        assert (words.starts[mine] - base[i]).tolist() == [word.start for word in expected]
        assert (words.ends[mine] - base[i]).tolist() == [word.end for word in expected]
        assert words.n_characters[mine].tolist() == [len(word.text) for word in expected]
        assert words.hashes[mine].tolist() == [reference_hashing.hash64(word.text.encode()) for word in expected]
        assert words.kinds[mine].tolist() == [kinds(word) for word in expected]


def kinds(word: reference.Word) -> int:
    marks = views.HAS_ALPHA * word.has_alpha + views.HAS_HASH * word.has_hash + views.HAS_ELLIPSIS * word.has_ellipsis
    return marks + views.IS_PLAIN * word.is_plain + views.IS_MARKED * word.is_marked


@pytest.mark.property
@pytest.mark.parametrize("name", ["line_spans", "paragraph_spans"])
@checked
@given(texts)
def test_lines_and_paragraphs_are_those_of_the_twin(name, documents):
    batch = TextBatch.of(documents)
    blocks = batch.view(getattr(views, name))
    for i, text in enumerate(documents):
        mine = slice(blocks.index[i], blocks.index[i + 1])
        columns = [blocks.starts, blocks.ends, blocks.text_starts, blocks.text_ends]
        found = list(zip(*[(column[mine] - batch.offsets[i]).tolist() for column in columns], strict=True))
        assert found == [block[:4] for block in getattr(reference, name)(text)]


@pytest.mark.property
@checked
@given(texts)
def test_code_points_are_counted_as_python_counts(documents):
    assert TextBatch.of(documents).view(code_points).tolist() == [len(text) for text in documents]


@pytest.mark.property
@checked
@given(texts)
def test_byte_positions_become_python_string_indices(documents):
    batch = TextBatch.of(documents)
    places = [(i, j) for i, text in enumerate(documents) for j in range(len(text) + 1)]
    positions = [int(batch.offsets[i]) + len(documents[i][:j].encode()) for i, j in places]
    found = code_points_at(
        batch.utf8, batch.offsets, np.array([i for i, _ in places], np.int64), np.array(positions, np.int64)
    )
    assert found.tolist() == [j for _, j in places]


def test_a_line_ends_at_newline_only():
    batch = TextBatch.of(["a\r\nb\x0bc\u2028d\x85e\n"])
    assert batch.view(line_spans).per_document().tolist() == [2]


def test_crlf_and_lines_of_spaces_separate_paragraphs():
    batch = TextBatch.of(["a\r\n\r\nb\n \t\nc\nd", "\n\n", ""])
    assert batch.view(paragraph_spans).per_document().tolist() == [3, 0, 0]


def test_five_million_equal_characters_are_one_word_and_one_line():
    batch = TextBatch.of(["a" * 5_000_000, "\n" * 5_000_000, " " * 100])
    assert batch.view(word_spans).per_document().tolist() == [1, 0, 0]
    assert batch.view(line_spans).per_document().tolist() == [1, 5_000_000, 1]


def test_a_view_is_computed_once_per_batch():
    calls = []

    def counted(utf8, offsets):
        calls.append(len(utf8))
        return word_spans(utf8, offsets)

    batch = TextBatch.of(["a b"])
    assert batch.view(counted) is batch.view(counted)
    assert calls == [3]


def test_a_batch_without_documents_has_no_words():
    batch = TextBatch.of([])
    assert batch.view(word_spans).index.tolist() == [0]
    assert batch.view(line_spans).index.tolist() == [0]
    assert batch.view(code_points).tolist() == []


def test_malformed_utf8_reads_nothing_outside_the_document():
    utf8 = np.frombuffer(b"a\xf0\x9f\xff\xff\xe2", np.uint8)
    assert word_spans(utf8, np.array([0, 3, 6])).per_document().sum() >= 2


@pytest.mark.parametrize("offsets", [[], [1, 3], [0, 2], [0, 3, 2, 3]])
def test_offsets_that_do_not_cover_the_text_are_refused(offsets):
    with pytest.raises(ValueError, match="offsets"):
        word_spans(np.frombuffer(b"abc", np.uint8), np.array(offsets, np.int64))


def test_a_position_outside_its_document_is_refused():
    batch = TextBatch.of(["ab", "cd"])
    with pytest.raises(ValueError, match="within its document"):
        code_points_at(batch.utf8, batch.offsets, np.array([0]), np.array([3]))
