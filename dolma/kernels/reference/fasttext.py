"""`dolma.kernels.fasttext` of one text, step by step."""

from __future__ import annotations

import math
import re

import numpy as np

from dolma.kernels.fasttext import END, HIERARCHICAL, LABEL, SOFTMAX, Matrix, Model


def fnv(word: bytes) -> int:
    """FNV-1a in 32 bits, each byte sign-extended before it is mixed in."""
    state = 2166136261
    for byte in word:
        state = (state ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619 % 2**32
    return state


def words_of(text: str) -> list[bytes]:
    """The words, and the end behind them.

    >>> words_of("a </s> b\\n")
    [b'a', b'b', b'</s>']
    """
    words = re.split(rb"[\x00\t\n\v\f\r ]+", text.encode())
    return [*(word for word in words if word not in (b"", END)), END]


def ngrams_of(word: str | bytes, *, least: int, most: int) -> list[bytes]:
    """Character n-grams of "<word>", without "<" and ">" themselves.

    >>> ngrams_of("no", least=1, most=2)
    [b'<n', b'n', b'no', b'o', b'o>']
    """
    framed = f"<{word.decode() if isinstance(word, bytes) else word}>"
    return [
        framed[start : start + n].encode()
        for start in range(len(framed))
        for n in range(max(least, 1), min(most, len(framed) - start) + 1)
        if n > 1 or 0 < start < len(framed) - 1
    ]


def rows_of(model: Model, text: str) -> list[int]:
    """Every row of the text, with repetitions, in the order in which they are added up."""
    entries = {model.name(i): i for i in reversed(range(len(model.name_starts)))}
    pruned = None if model.pruned is None else dict(model.pruned.tolist())

    def bucket_of(hashed: int) -> int:
        bucket = hashed % model.bucket
        return bucket if pruned is None else pruned.get(bucket, -1)

    rows, hashes = [], []
    for word in words_of(text):
        known = entries.get(word, -1)
        if known >= model.n_words or (known < 0 and word.startswith(LABEL)):
            continue
        hashes.append(fnv(word))
        if known >= 0:
            rows.append(known)
        if word != END and model.max_chars > 0:
            grams = ngrams_of(word, least=model.min_chars, most=model.max_chars)
            rows += [model.n_words + bucket for gram in grams if (bucket := bucket_of(fnv(gram))) >= 0]
    signed = [value - 2**32 if value >= 2**31 else value for value in hashes]
    for first in range(len(signed)):
        state = signed[first]
        for value in signed[first + 1 : first + model.word_ngrams]:
            state = (state * 116049371 + value) % 2**64
            if (bucket := bucket_of(state)) >= 0:
                rows.append(model.n_words + bucket)
    return rows


def logits_of(model: Model, text: str) -> list[float]:
    """The product of each row of the output matrix and the mean of the text's rows; empty if it has none."""
    rows = rows_of(model, text)
    if not rows:
        return []
    total = np.zeros(model.dim, dtype=np.float32)
    for row in rows:
        total += model.inputs.row(row)
    mean = total * np.float32(1 / len(rows))
    return [_product(model.outputs, i, mean) for i in range(model.outputs.n_rows)]


def probabilities(model: Model, text: str) -> list[float]:
    """The probability of each label, 0 where the library says nothing."""
    logits = logits_of(model, text)
    if not logits:
        return [0.0] * len(model.labels)
    if model.loss == HIERARCHICAL:
        return _by_tree(model, logits)
    if model.loss == SOFTMAX:
        powers = [math.exp(logit - max(logits)) for logit in logits]
        return [power / sum(powers) + 1e-5 for power in powers]
    return [_step(float(np.float32(logit))) + 1e-5 for logit in logits]


def _product(matrix: Matrix, i: int, vector: np.ndarray) -> float:
    total = np.float32(0)
    for product in matrix.row(i) * vector:
        total += product
    return float(total)


def _step(x: float) -> float:
    """The logistic function at the last of 512 steps from -8 to 8 that is not beyond `x`."""
    if abs(x) > 8:
        return float(x > 0)
    return 1 / (1 + math.exp(8 - math.floor((x + 8) * 32) / 32))


def _by_tree(model: Model, logits: list[float]) -> list[float]:
    """Probabilities by the Huffman tree of the labels' counts: a branch for each inner node on the way down."""
    n = len(model.labels)
    counts: list[float] = [*model.label_counts.tolist(), *[1e15] * (n - 1)]
    leaves, inner, children = list(range(n)), n, {}
    for node in range(n, 2 * n - 1):
        pair = []
        for _ in range(2):
            if leaves and counts[leaves[-1]] < counts[inner]:
                pair.append(leaves.pop())
            else:
                pair.append(inner)
                inner += 1
        children[node] = pair
        counts[node] = counts[pair[0]] + counts[pair[1]]
    answers = [0.0] * n
    todo = [(2 * n - 2, 0.0)]
    while todo:
        node, score = todo.pop()
        if score < math.log(1e-5):
            continue
        if node < n:
            answers[node] = math.exp(score)
            continue
        right = float(np.float32(1 / (1 + math.exp(-logits[node - n]))))
        left_child, right_child = children[node]
        todo += [(left_child, score + math.log(1 - right + 1e-5)), (right_child, score + math.log(right + 1e-5))]
    return answers
