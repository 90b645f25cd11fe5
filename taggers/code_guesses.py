"""Which language a text is in that has no name: by signs of some fifty languages in its first 4 kB.

A sign is a few characters, in either case, with a weight (`code_signs.tsv`); up to three occurrences count. The
language with the highest sum is the guess if that is `LEAST` and `MARGIN` times the next one's. JSON is what begins and
ends like an object or array. The signs are ours.

Of 718 files of 16 languages from Debian 93.2 % are guessed right, 5.8 % not at all, 1.0 % wrong (`benchmarks/code.py`);
of 952 files of 26 languages of an operating system 76.1 %, 21.4 %, 2.5 %: data, dialects, short files. Extensions were
taken for the truth. 0.04 to 0.07 ms a document on one core of a 2-core cloud machine, 2026-11-26.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from dolma.data.batch import offsets_of
from dolma.kernels.phrases import ANYWHERE, BETWEEN_WORDS, Phrases, occurrences, phrases_of

HEAD = 4096
LEAST, MARGIN, MOST_TIMES = 5.0, 1.3, 3
_JSON = re.compile(
    rb"\s*(?:\{\s*(?:\"(?:[^\"\\\n]|\\.){0,200}\"\s*:|\}\s*$)|\[\s*(?:[\[{\"\d-]|true|false|null|\]\s*$))"
)


@functools.cache
def _signs() -> tuple[Phrases, tuple[str, ...], npt.NDArray[np.float64]]:
    """The signs, the languages, and the weight of each sign for each language, shape `(n_signs, n_languages)`."""
    text = (files("dolma.taggers") / "code_signs.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    languages = tuple(dict.fromkeys(language for language, _, _ in rows))
    signs = list(dict.fromkeys(sign for _, _, sign in rows))
    weights = np.zeros((len(signs), len(languages)))
    for language, weight, sign in rows:
        weights[signs.index(sign), languages.index(language)] = float(weight)
    return phrases_of([_entry(sign) for sign in signs]), languages, weights


def _entry(sign: str) -> tuple[str, int]:
    """A sign that begins with a letter and ends with a space is a word."""
    text = sign.encode().decode("unicode_escape")
    is_word = text[0].isalpha() and text.endswith(" ") and text[:-1].replace(" ", "").isalpha()
    return (text[:-1], BETWEEN_WORDS) if is_word else (text, ANYWHERE)


def guesses(texts: Sequence[bytes]) -> list[str | None]:
    """The language of each text, None where no language's signs prevail. Only the first `HEAD` bytes are read.

    >>> guesses([b"fn main() {\\n    let mut a: &str = x.unwrap();\\n}\\n", b"Dear all,\\n"])
    ['Rust', None]
    """
    if not texts:
        return []
    phrases, languages, weights = _signs()
    heads = [b"\n" + text[:HEAD] for text in texts]
    found = occurrences(np.frombuffer(b"".join(heads), dtype=np.uint8), offsets_of(heads), phrases)
    hits = np.bincount(found.documents * len(weights) + found.entries, minlength=len(texts) * len(weights))
    scores = np.minimum(hits, MOST_TIMES).reshape(len(texts), -1) @ weights
    best = scores.argmax(axis=1)
    second, first = np.partition(scores, -2, axis=1)[:, -2:].T
    sure = (first >= LEAST) & (first >= MARGIN * second)
    return [
        "JSON" if _JSON.match(text[:HEAD]) and _is_closed(text) else languages[row] if is_sure else None
        for text, row, is_sure in zip(texts, best, sure, strict=True)
    ]


def _is_closed(text: bytes) -> bool:
    """Whether the text ends with what closes an object or array."""
    return text[-64:].rstrip()[-1:] in (b"}", b"]")
