"""Perplexity by an n-gram model of KenLM (Heafield 2011), as CCNet has it (Wenzek et al. 2020, arXiv:1911.00359).

`path` is an ARPA file or a binary of KenLM's `build_binary`, such as CCNet's `en.arpa.bin`. The text is normalized by
the steps in `normalize`, cut into tokens by `tokenizer`, and the tokens are scored as one sentence: begun by `<s>`,
closed by `</s>`. With s the sum of the log10 probabilities of n tokens, `</s>` among them, perplexity is
10 ** (-s / n). A model has to see what it saw in training, so nothing is done to the text unless asked for.

- `tokenizer`: a SentencePiece model, or a Hugging Face `tokenizer.json`, whose tokens are shown as they stand in its
  vocabulary, or nothing: words between whitespace.
- `normalize`: any of these steps, which are done in this order; `ccnet` is all of them. They are those of CCNet's
  `text_normalizer.normalize`, which also strips whitespace at both ends first, as any of them does here.
  `lower`: `str.lower`. `accents`: NFD without characters of category Mn; not composed again. `digits`: each decimal
  digit of Unicode becomes 0. `punctuation`: 34 characters by the table `PUNCTUATION`. `controls`: U+0000 to U+001F and
  U+007F to U+009F are removed, newlines among them, so that the words on both sides of one become one.

By `level: document` a document is one sentence, which is what CCNet, RedPajama and datatrove report; theirs is rounded
to one decimal, ours is not. By `paragraph` (pieces that end after a newline and are not blank) and `sentence`, each of
these is a sentence of its own, its perplexity is the score of its span, and the document's values are of their sums.

Case, marks and digits are by the Unicode version of the Python that runs this.

Cost on one core of a 2-core cloud machine with a model that fits the caches (benchmarks/results/2026-11-26-models.md):
23 MB/s by words, 8 with SentencePiece, 5 with all steps before it; KenLM alone 60, SentencePiece alone 12, all steps of
normalization alone 17. Workers map one copy of a binary file; each reads an ARPA file for itself.
"""

from __future__ import annotations

import functools
import itertools
import re
import struct
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, DocInt, Output, Spans, spans_column
from dolma.errors import ConfigError, MissingExtraError, did_you_mean
from dolma.models.public import copies
from dolma.models.tokenizers_library import encode_texts, load_tokenizer, token_strings
from dolma.printable import printable
from dolma.taggers.catalogue import Need
from dolma.taggers.fasttext import paragraphs_of, sentences_of

EXTRA = "perplexity"
Level = Literal["document", "paragraph", "sentence"]
Step = Literal["lower", "accents", "digits", "punctuation", "controls"]
Tokenize = Callable[[list[str]], list[str]]
Normalize = Callable[[str], str]

# The table of CCNet's text_normalizer, in the order of code points. There U+FF11, the fullwidth digit one, is a
# quotation mark too; `digits` comes before.
PUNCTUATION: dict[str, str] = {
    "\u00ab": '"', "\u00b4": "'", "\u00bb": '"',
    "\u2013": "-", "\u2014": " - ", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2026": "...",
    "\u2236": ":", "\u2501": "-", "\u25ba": "-",
    "\u3001": ",", "\u3002": ".", "\u3008": "<", "\u3009": ">", "\u300a": '"', "\u300b": '"', "\u300c": '"',
    "\u300d": '"', "\u3010": "[", "\u3011": "]",
    "\uff01": "!", "\uff05": "%", "\uff08": "(", "\uff09": ")", "\uff0c": ",", "\uff0e": ". ", "\uff11": '"',
    "\uff1a": ":", "\uff1b": ";", "\uff1f": "?", "\uff5e": "~",
}  # fmt: skip

_PUNCTUATION = re.compile(f"[{''.join(PUNCTUATION)}]")
_NOT_ASCII = re.compile(r"[^\0-\x7f]+")
_CONTROLS = re.compile("[\0-\x1f\x7f-\x9f]+")
_DIGIT = re.compile(r"\d")
_SPACE = re.compile(r"\s", re.ASCII)


class Perplexity:
    """What an n-gram model makes of documents, and if asked for of each of their paragraphs or sentences."""

    name = "perplexity"
    version = 1
    needs: tuple[Need, ...] = (
        Need(kind="extra", name=EXTRA, get=f"pip install 'dolma[{EXTRA}]'"),
        Need(kind="model", name="an ARPA or KenLM binary file", get="give the option `path`: a file, or one fetched"),
    )
    outputs: Mapping[str, Output] = {
        "log10_probability": DocFloat("sum of the log10 probabilities of all tokens; 0 without tokens", range="<= 0"),
        "tokens": DocInt("tokens of the text, and one that ends each sentence; 0 without any", unit="tokens"),
        "perplexity": DocFloat("10 ** (-log10_probability / tokens); null without tokens", range=">= 1"),
    }

    def __init__(
        self,
        *,
        path: str | Path,
        tokenizer: str | Path | None = None,
        normalize: str | Sequence[Step] = (),
        level: Level = "document",
    ) -> None:
        """Open the model and its tokenizer.

        Raises:
            ConfigError: no such file, level or step; or a file that the libraries cannot read.
            MissingExtraError: `kenlm`, or `sentencepiece` where it is needed, is not installed.
        """
        if level not in get_args(Level):
            raise ConfigError(f"{self.name}: level={level!r}; {did_you_mean(str(level), get_args(Level))}")
        self._normalize = normalizer(steps_of(normalize))
        model, pieces = _files(path, tokenizer)
        self.files = tuple(str(file) for file in (model, pieces) if file is not None)
        self._model = _kenlm(model)
        self._tokenize = _tokenize(pieces)
        self.level = level
        self.needs = type(self).needs[:1]
        self.outputs = type(self).outputs
        if level != "document":
            self.outputs = {**self.outputs, f"{level}s": Spans(f"{level}s, with the perplexity of each", range=">= 1")}

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document and output; of paragraphs or sentences, one list of spans."""
        if self.level == "document":
            return _totals(*self._scores(batch.texts()))
        spans = paragraphs_of(batch) if self.level == "paragraph" else sentences_of(batch)
        text = batch.utf8.tobytes()
        bounds = zip(spans.starts.tolist(), spans.ends.tolist(), strict=True)
        log10, tokens = self._scores([text[start:end].decode() for start, end in bounds])
        documents = np.repeat(np.arange(len(batch)), spans.counts)
        scored = tokens > 0
        column = spans_column(
            np.bincount(documents[scored], minlength=len(batch)).astype(np.int64),
            spans.first_points[scored],
            spans.last_points[scored],
            perplexity(log10[scored], tokens[scored]),
        )
        sum_log10 = np.bincount(documents, log10, len(batch)).astype(np.float64)
        n_tokens = np.bincount(documents, tokens, len(batch)).astype(np.int64)
        return {**_totals(sum_log10, n_tokens), f"{self.level}s": column}

    def _scores(self, texts: list[str]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Sum of log10 probabilities and number of tokens of each text, 0 and 0 of one without tokens."""
        log10, tokens = np.zeros(len(texts)), np.zeros(len(texts), dtype=np.int64)
        score = self._model.score
        for i, sentence in enumerate(self._tokenize([self._normalize(text) for text in texts])):
            # KenLM cuts at ASCII whitespace.
            if n_tokens := len(sentence.encode().split()):
                log10[i], tokens[i] = score(sentence), n_tokens + 1
        return log10, tokens


def perplexity(log10: npt.NDArray[np.float64], tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """10 ** (-log10 / tokens), infinite from 1e308; `tokens` are above 0.

    >>> perplexity(np.array([-4.0]), np.array([2])).tolist()
    [100.0]
    """
    # By Python's power, as in CCNet; NumPy's differs in the last bit, by processor.
    return np.array([10.0**exponent if exponent < 308 else np.inf for exponent in (-log10 / tokens).tolist()])


def steps_of(given: str | Sequence[str]) -> tuple[Step, ...]:
    """The steps of normalization that an option asks for, in the order in which they are done.

    >>> steps_of(["digits", "lower"]), len(steps_of("ccnet"))
    (('lower', 'digits'), 5)

    Raises:
        ConfigError: there is no such step.
    """
    known: tuple[Step, ...] = get_args(Step)
    if given == "ccnet":
        return known
    wanted = [given] if isinstance(given, str) else list(given)
    for step in wanted:
        if step not in known:
            raise ConfigError(f"perplexity: normalize={step!r}; {did_you_mean(str(step), (*known, 'ccnet'))}")
    return tuple(step for step in known if step in wanted)


def normalizer(steps: Sequence[Step]) -> Normalize:
    """A function that does these steps to a text.

    >>> normalizer(steps_of("ccnet"))(" Él dijo: «1984…»\\n")
    'el dijo: "0000..."'
    """
    if not steps:
        return lambda text: text
    done = [_STEPS[step] for step in steps]
    return lambda text: functools.reduce(lambda text, step: step(text), done, text.strip())


def _without_accents(text: str) -> str:
    # ASCII is what NFD leaves alone and what no mark is moved across.
    return _NOT_ASCII.sub(lambda run: _marks().sub("", unicodedata.normalize("NFD", run[0])), text)


@functools.cache
def _marks() -> re.Pattern[str]:
    """Characters of category Mn."""
    points = (point for point in range(sys.maxunicode + 1) if unicodedata.category(chr(point)) == "Mn")
    runs = itertools.groupby(enumerate(points), key=lambda item: item[1] - item[0])
    bounds = ((run[0][1], run[-1][1]) for run in (list(members) for _, members in runs))
    return re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in bounds) + "]+")


_STEPS: dict[Step, Normalize] = {
    "lower": str.lower,
    "accents": _without_accents,
    "digits": lambda text: _DIGIT.sub("0", text),
    "punctuation": lambda text: _PUNCTUATION.sub(lambda found: PUNCTUATION[found[0]], text),
    "controls": lambda text: _CONTROLS.sub("", text),
}


def _totals(log10: npt.NDArray[np.float64], tokens: npt.NDArray[np.int64]) -> Columns:
    return {
        "log10_probability": pa.array(log10),
        "tokens": pa.array(tokens),
        "perplexity": pa.array(perplexity(log10, np.maximum(tokens, 1)), mask=tokens == 0),
    }


def _files(path: str | Path, tokenizer: str | Path | None) -> tuple[Path, Path | None]:
    """The model, and its tokenizer if there is to be one; a name of several public files may bring both.

    Raises:
        ConfigError: there is no such file, or it has not been fetched.
    """
    given = copies(str(path), tagger=Perplexity.name)
    models = [file for file in given if not file.name.endswith(".sp.model")]
    pieces = [file for file in given if file.name.endswith(".sp.model")]
    if len(models) != 1:
        raise ConfigError(
            f"{Perplexity.name}: path={str(path)!r} is {len(models)} n-gram models, expected one\n"
            "  give an ARPA file or a KenLM binary by `path`, and a SentencePiece model by `tokenizer`"
        )
    if tokenizer is not None:
        pieces = list(copies(str(tokenizer), tagger=f"{Perplexity.name}: tokenizer"))
    return models[0], pieces[0] if pieces else None


def _kenlm(file: Path) -> Any:
    try:
        import kenlm
    except ImportError as error:
        raise MissingExtraError("kenlm", extra=EXTRA, purpose=f"the tagger {Perplexity.name!r}") from error
    config = kenlm.Config()
    config.show_progress, config.arpa_complain = False, kenlm.ARPALoadComplain.NONE
    try:
        _check_header(file)
        return kenlm.Model(str(file), config)
    except (OSError, ValueError) as error:
        reason = _REASON.sub(r"\1", str(error))
        raise ConfigError(
            f"{Perplexity.name}: KenLM cannot read {printable(file)}: {printable(reason)}\n"
            "  give the path of an ARPA file, or of what KenLM's `build_binary` makes of one"
        ) from error


_REASON = re.compile(r".* threw \w+Exception(?: because `.*?')?\. (.*)\)", re.DOTALL)  # without places in C++
_MAGIC = b"mmap lm http://kheafield.com/code format version"
_ORDER_AT, _COUNTS_AT = 88, 108  # of a binary file: how long its n-grams are, and how many there are of each length


def _check_header(file: Path) -> None:
    """Raises ValueError for counts that no file of this size has: KenLM would reach beyond its memory."""
    with open(file, "rb") as opened:
        head = opened.read(_COUNTS_AT + 8 * 6)  # KenLM takes n-grams of 6 words at most
    if head.startswith(_MAGIC) and len(head) >= _COUNTS_AT:
        n_counts = min(head[_ORDER_AT], (len(head) - _COUNTS_AT) // 8)
        counts, size = struct.unpack_from(f"<{n_counts}Q", head, _COUNTS_AT), file.stat().st_size
        if counts and (max(counts) > 8 * size or not counts[0]):
            raise ValueError(
                f"it is damaged: its header tells of {counts[0]:,} to {max(counts):,} n-grams, in {size:,} bytes"
            )


def _tokenize(file: Path | None) -> Tokenize:
    """A function from texts to their tokens, joined by spaces."""
    if file is None:
        return lambda texts: [" ".join(text.split()) for text in texts]
    return _json_tokens(file) if file.suffix == ".json" else _sentencepiece(file)


def _json_tokens(file: Path) -> Tokenize:
    tokenizer = load_tokenizer(str(file), key=Perplexity.name)
    encode, strings = encode_texts(tokenizer, allow_special_tokens=False), token_strings(tokenizer)
    # A token that holds a space is one token all the same.
    return lambda texts: [" ".join(_SPACE.sub("\u2581", token) for token in strings(ids)) for ids in encode(texts)]


def _sentencepiece(file: Path) -> Tokenize:
    try:
        import sentencepiece
    except ImportError as error:
        raise MissingExtraError("sentencepiece", extra=EXTRA, purpose=f"{Perplexity.name} by {file.name}") from error
    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(file))
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"{Perplexity.name}: sentencepiece cannot read {printable(file)}: {printable(error)}\n"
            "  `tokenizer` is a SentencePiece model or a tokenizer.json; without it, tokens are words"
        ) from error
    return lambda texts: [" ".join(pieces) for pieces in processor.encode(texts, out_type=str, num_threads=1)]
