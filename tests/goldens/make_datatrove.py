"""Write down what datatrove's quality filters measure. Run where datatrove and spaCy are installed:

    cd /tmp && PYTHON_OF_DATATROVE /path/to/tests/goldens/make_datatrove.py

Documents are those of `make_dolma1.py`. The filters only say yes or no; their thresholds are given as objects that note
what they are compared with. Values are null where a filter refuses a text or fails before it comes to them.

- `datatrove/fineweb.jsonl.gz`: the four numbers of the FineWeb filter.
- `datatrove/gopher.jsonl.gz`: the numbers of both Gopher filters, and a hash of the tokens, so that a test can tell
  where ours are the same.
- `datatrove/c4.jsonl.gz`: how many lines each rule of the C4 filter removes when it is the only one; and with all rules
  or with those of FineWeb, why the text is dropped, the sentences left, and a hash of the text left.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
make_dolma1: Any = importlib.import_module("make_dolma1")
FINEWEB = ("line_punct_ratio", "short_line_ratio", "char_dup_ratio", "new_line_ratio")
NGRAMS = {n: f"top_{n}_gram" if n <= 4 else f"duplicated_{n}_n_grams" for n in range(2, 11)}
C4_RULES = {
    "no_terminal_punct": {"filter_no_terminal_punct": True},
    "too_few_words": {"min_words_per_line": 3},
    "too_long_word": {"max_word_length": 1000},
    "javascript": {"filter_javascript": True},
    "policy": {"filter_policy": True},
}
C4_OFF = {
    "filter_no_terminal_punct": False,
    "min_words_per_line": -1,
    "max_word_length": -1,
    "filter_javascript": False,
    "filter_policy": False,
    "filter_lorem_ipsum": False,
    "filter_curly_bracket": False,
    "min_num_sentences": -1,
}


class Noted:
    """A threshold that nothing passes, and that notes what is compared with it."""

    __array_ufunc__ = None  # so that NumPy's numbers leave the comparison to us

    def __init__(self) -> None:
        self.values: list[float] = []

    def _note(self, value: float) -> bool:
        self.values.append(float(value))
        return False

    __lt__ = __gt__ = _note

    @property
    def value(self) -> float | None:
        return self.values[0] if self.values and math.isfinite(self.values[0]) else None


def asked(quality: Any, document: Any) -> None:
    """Filter the document; where that divides by zero, what follows stays null."""
    try:
        quality.filter(document)
    except ZeroDivisionError:
        pass


def fineweb(document: Any) -> dict[str, float | None]:
    """The four numbers of the FineWeb quality filter."""
    filters = importlib.import_module("datatrove.pipeline.filters")
    noted = [Noted() for _ in FINEWEB]
    names = ("line_punct_thr", "short_line_thr", "char_duplicates_ratio", "new_line_ratio")
    asked(filters.FineWebQualityFilter(**dict(zip(names, noted, strict=True))), document)
    return {name: note.value for name, note in zip(FINEWEB, noted, strict=True)}


def gopher(document: Any) -> dict[str, Any]:
    """The numbers of the filters of Gopher's quality and repetition, and a hash of the tokens."""
    filters = importlib.import_module("datatrove.pipeline.filters")
    split = importlib.import_module("datatrove.utils.text").split_into_words
    quality = {
        name: Noted()
        for name in (
            "min_doc_words", "min_avg_word_length", "max_symbol_word_ratio", "max_bullet_lines_ratio",
            "max_ellipsis_lines_ratio", "max_non_alpha_words_ratio", "min_stop_words",
        )
    }  # fmt: skip
    asked(filters.GopherQualityFilter(**quality, max_doc_words=None, max_avg_word_length=None), document)
    repetition = {f"dup_{unit}_frac": Noted() for unit in ("line", "para", "line_char", "para_char")}
    ngrams = {n: Noted() for n in NGRAMS}
    options = {
        "top_n_grams": [(n, ngrams[n]) for n in (2, 3, 4)],
        "dup_n_grams": [(n, ngrams[n]) for n in range(5, 11)],
    }
    asked(filters.GopherRepetitionFilter(**repetition, **options), document)
    hashes, ellipses, *_ = [*quality["max_symbol_word_ratio"].values, None, None]
    return {
        "words": quality["min_doc_words"].value,
        "avg_word_length": quality["min_avg_word_length"].value,
        "hash_word_ratio": hashes,
        "ellipsis_word_ratio": ellipses,
        "bullet_lines_ratio": quality["max_bullet_lines_ratio"].value,
        "ellipsis_lines_ratio": quality["max_ellipsis_lines_ratio"].value,
        "alpha_words_ratio": quality["max_non_alpha_words_ratio"].value,
        "stop_words": quality["min_stop_words"].value,
        **{name: note.value for name, note in repetition.items()},
        **{name: ngrams[n].value for n, name in NGRAMS.items()},
        "tokens": digest("\n".join(split(document.text, "eng"))),
    }


def c4(text: str) -> dict[str, Any]:
    """Lines removed by each rule of the C4 filter alone, and what all of them leave."""
    rows: dict[str, Any] = {}
    for rule, options in C4_RULES.items():
        quality = c4_filter(**(C4_OFF | options))
        quality.filter(record(text))
        removed = {name: stat.total for name, stat in quality.stats.stats.items() if name.startswith("line-filter")}
        rows[rule] = sum(removed.values())
    for name, terminal in (("default", True), ("fineweb", False)):
        sentences, document = Noted(), record(text)
        result = c4_filter(filter_no_terminal_punct=terminal, min_num_sentences=sentences).filter(document)
        kept = result is True
        rows[name] = {
            "reason": None if kept else result[1],
            "sentences": sentences.value,
            "text": digest(document.text) if kept else None,
        }
    return rows


def c4_filter(**options: Any) -> Any:
    return importlib.import_module("datatrove.pipeline.filters").C4QualityFilter(**options)


def record(text: str) -> Any:
    return importlib.import_module("datatrove.data").Document(text=text, id="")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 9) if isinstance(value, float) else value for name, value in row.items()}


def main() -> None:
    """Ask about all documents."""
    documents = make_dolma1.documents()
    measures = {"fineweb": lambda text: fineweb(record(text)), "gopher": lambda text: gopher(record(text)), "c4": c4}
    for name, measure in measures.items():
        rows = [{"id": document["id"], **rounded(measure(document["text"]))} for document in documents]
        make_dolma1.write(HERE / "datatrove" / f"{name}.jsonl.gz", rows)
        print(json.dumps(rows[0]), len(rows))


if __name__ == "__main__":
    main()
