"""What taggers with models of one's own cost: `perplexity` by its parts, `transformer` by the shape of a run.

    python -m benchmarks.models 'data/sample/*/documents/*.jsonl.gz'
    python -m benchmarks.models --transformer FOLDER --write 2026-11-26 --corpus "what it is" PATTERN...

`perplexity` has a trigram model of words with made-up back-off weights and a SentencePiece model of 4,000 pieces, both
made of the documents, so they are small and fit the caches; published ones are some GB, and each n-gram costs a visit
to memory. FOLDER is any model of `transformer` in ONNX form; random weights take as long as trained ones. Seconds are
of the processor, the least of `--repeats`, on texts in memory.
"""

from __future__ import annotations

import argparse
import collections
import io
import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import kenlm
import numpy as np
import sentencepiece

from benchmarks.stages import machine
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset
from dolma.data.documents import Intake, Reading, read_batches
from dolma.taggers.perplexity import Perplexity, normalizer, steps_of
from dolma.taggers.transformer import Transformer

HERE = Path(__file__).parent
SHAPES = ((1, 16), (32, 16), (1, 64), (8, 64), (1, 128), (4, 128), (1, 256), (2, 256), (1, 512), (4, 512))
N_PIECES = 4_000


def texts_of(patterns: Sequence[str], *, megabytes: float) -> list[str]:
    """The first documents, of so many MB in all."""
    texts: list[str] = []
    n_bytes = 0
    for shard in Dataset(documents=tuple(patterns)).shards():
        for batch in read_batches(shard, Reading(), intake=Intake()):
            for i in range(len(batch)):
                if n_bytes >= megabytes * 1e6:
                    return texts
                texts.append(batch.text(i))
                n_bytes += int(batch.n_bytes[i])
    return texts


def arpa(texts: Sequence[str]) -> str:
    """A trigram model of the words of these texts. Its probabilities do not add up; that costs no time."""
    words = [text.split() for text in texts]
    counts = [collections.Counter(itertools.chain.from_iterable(_n_grams(one, n) for one in words)) for n in (1, 2, 3)]
    total = counts[0].total()
    lines = ["\\data\\", *(f"ngram {n + 1}={len(found) + 3 * (n == 0)}" for n, found in enumerate(counts))]
    lines += ["", "\\1-grams:", "-6\t<unk>", "0\t<s>\t-0.3", "-2\t</s>"]
    lines += [f"{math.log10(n / total):.4f}\t{word}\t-0.3" for (word,), n in counts[0].items()]
    for order in (1, 2):
        lines += ["", f"\\{order + 1}-grams:"]
        back_off = "\t-0.2" if order == 1 else ""
        lines += [
            f"{math.log10(0.6 * n / counts[order - 1][gram[:-1]]):.4f}\t{' '.join(gram)}{back_off}"
            for gram, n in counts[order].items()
        ]
    return "\n".join([*lines, "", "\\end\\", ""])


def _n_grams(words: list[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[i:] for i in range(n)), strict=False)


def seconds(work: Callable[[], Any], *, repeats: int) -> float:
    """The least processor time of some runs, after one that does not count."""
    work()
    costs = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        costs.append(time.process_time() - began)
    return min(costs)


def perplexity_rows(texts: list[str], *, repeats: int) -> Iterator[str]:
    """A row per part and per way of using the tagger."""
    batch = TextBatch.of(texts)
    megabytes = len(batch.utf8) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        path, pieces = Path(folder) / "words.arpa", Path(folder) / "pieces.sp.model"
        path.write_text(arpa(texts), encoding="utf-8")
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(line for text in texts for line in text.split("\n")),
            model_writer=model,
            vocab_size=N_PIECES,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        pieces.write_bytes(model.getvalue())
        quiet = kenlm.Config()
        quiet.show_progress, quiet.arpa_complain = False, kenlm.ARPALoadComplain.NONE
        library, joined = kenlm.Model(str(path), quiet), [" ".join(text.split()) for text in texts]
        processor = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
        steps = normalizer(steps_of("ccnet"))
        work: dict[str, Callable[[], Any]] = {
            "KenLM alone, on words": lambda: [library.score(text) for text in joined],
            "SentencePiece alone": lambda: processor.encode(texts, out_type=str, num_threads=1),
            "`normalize: ccnet` alone": lambda: [steps(text) for text in texts],
        }
        for name, options in {
            "words": {},
            "words, `level: paragraph`": {"level": "paragraph"},
            "words, `normalize: ccnet`": {"normalize": "ccnet"},
            "SentencePiece": {"tokenizer": pieces},
            "SentencePiece, `normalize: ccnet`": {"tokenizer": pieces, "normalize": "ccnet"},
        }.items():
            tagger = Perplexity(path=path, **options)
            work[f"tagger: {name}"] = lambda tagger=tagger: tagger(batch)
        for name, run in work.items():
            yield f"| {name} | {megabytes / seconds(run, repeats=repeats):.1f} |"


def transformer_rows(folder: str, *, repeats: int) -> Iterator[str]:
    """A row per shape of a run."""
    tagger = Transformer(path=folder)
    draw = np.random.default_rng(0)
    for n_rows, length in SHAPES:
        ids = draw.integers(5, 1000, (n_rows, length))
        mask = np.ones_like(ids)
        cost = seconds(lambda ids=ids, mask=mask: tagger._logits(ids, mask), repeats=repeats)
        yield f"| {n_rows} | {length} | {1e3 * cost / ids.size:.2f} |"


def report(patterns: Sequence[str], *, megabytes: float, repeats: int, transformer: str | None) -> str:
    """The tables, as Markdown."""
    texts = texts_of(patterns, megabytes=megabytes)
    n_bytes = sum(len(text.encode()) for text in texts)
    lines = [f"{len(texts):,} documents, {n_bytes / 1e6:.1f} MB of text.", ""]
    lines += ["| `perplexity` | MB/s |", "| --- | ---: |", *perplexity_rows(texts, repeats=repeats)]
    if transformer is not None:
        lines += ["", "| `transformer`: rows | tokens in each | ms per token |", "| ---: | ---: | ---: |"]
        lines += transformer_rows(transformer, repeats=repeats)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables, and keep them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--transformer", metavar="FOLDER")
    parser.add_argument("--megabytes", type=float, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--corpus", default="as given")
    parser.add_argument("--write", metavar="DATE")
    given = parser.parse_args()
    found = report(given.documents, megabytes=given.megabytes, repeats=given.repeats, transformer=given.transformer)
    print(found)
    if given.write:
        versions = machine("ufal.kenlm", "sentencepiece", "onnxruntime", "tokenizers", "numpy")
        title = f"# Models, {given.write}\n\n`python -m benchmarks.models`\n\n{versions}\n\nCorpus: {given.corpus}\n\n"
        (HERE / "results" / f"{given.write}-models.md").write_text(title + found, encoding="utf-8")


if __name__ == "__main__":
    main()
