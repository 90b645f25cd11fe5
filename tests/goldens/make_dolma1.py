"""Write down what Dolma 1.2.1 answers. Run where it is installed, not where this project is:

    cd /tmp && PYTHON_OF_DOLMA_1 /path/to/tests/goldens/make_dolma1.py [TAGGER]...

Documents: every fifth of `data/sample`, and the texts of `dolma1/edge_cases.jsonl`. For each tagger
`dolma1/<tagger>.jsonl.gz` gets a line per document: `id` and `attributes` (output to spans, scores rounded to five
decimals, as 1.2.1 writes them), or `error`, the exception with which 1.2.1 would have ended the run.
"""

from __future__ import annotations

import glob
import gzip
import importlib
import io
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
SAMPLE = HERE.parent.parent / "data" / "sample"
EVERY = 5
TAGGERS = (
    "bytes_length_v1",
    "c4_v1",
    "c4_v2",
    "char_length_strip_ws_v1",
    "char_length_v1",
    "char_length_with_paragraphs_v1",
    "doc_count_v1",
    "ft_lang_id_1e2",
    "ft_lang_id_doc_v1",
    "ft_lang_id_en_doc_v2",
    "ft_lang_id_en_only_v2",
    "ft_lang_id_en_paragraph_v2",
    "ft_lang_id_en_paragraph_with_doc_score_v2",
    "gopher_v1",
    "gopher_v2",
    "not_alphanum_paragraph_v1",
    "olmo_pretokenizer_v1",
    "olmo_pretokenizer_with_paragraphs_v1",
    "paragraph_repetitions_v1",
    "pii_regex_v1",
    "pii_regex_v2",
    "pii_regex_with_counts_fast_v2",
    "pii_regex_with_counts_v2",
    "repetitions_v1",
    "uniseg_length_paragraphs_v1",
    "uniseg_length_paragraphs_with_doc_length_v1",
    "uniseg_length_paragraphs_with_empty_v1",
    "uniseg_length_v1",
    "whitespace_tokenizer_v1",
    "whitespace_tokenizer_with_paragraphs_v1",
)


def documents() -> list[dict]:
    """The documents that are asked about, in order."""
    found = []
    for path in sorted(glob.glob(f"{SAMPLE}/*/documents/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            found += [json.loads(line) for line in lines][::EVERY]
    with open(HERE / "dolma1" / "edge_cases.jsonl", encoding="utf-8", newline="\n") as lines:
        found += [json.loads(line) for line in lines]
    return found


def answer(tagger: object, document: dict) -> dict:
    """What 1.2.1 says of one document."""
    record = importlib.import_module("dolma.core.data_types").DocumentWithMetadata
    fields = {"source": document.get("source", ""), "version": None, "metadata": document.get("metadata") or {}}
    try:
        result = tagger.predict(record(id=document["id"], text=document["text"], **fields))
    except Exception as error:  # noqa: BLE001 - whatever it is would have ended its run: that is the answer
        return {"id": document["id"], "error": type(error).__name__}
    attributes: dict[str, list] = {}
    for span in result.spans:
        attributes.setdefault(span.type, []).append([span.start, span.end, round(float(span.score), 5)])
    return {"id": document["id"], "attributes": attributes}


def write(path: Path, rows: list[dict]) -> None:
    """The rows as compressed JSON lines, the same bytes each time."""
    text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as out:
        out.write(text.encode())
    path.write_bytes(buffer.getvalue())


def main() -> None:
    """Ask each tagger about all documents."""
    importlib.import_module("dolma.taggers")  # registers them
    # The model that is here; otherwise it downloads the same one, not compressed.
    lid176 = HERE.parent.parent / "taggers" / "models" / "lid.176.ftz"
    importlib.import_module("dolma.taggers.language").FastTextAllLanguagesDocumentTagger.MODEL_PATH = str(lid176)
    registry = importlib.import_module("dolma.core.registry").TaggerRegistry

    asked = documents()
    for name in sys.argv[1:] or TAGGERS:
        tagger = registry.get(name)()
        write(HERE / "dolma1" / f"{name}.jsonl.gz", [answer(tagger, document) for document in asked])
        print(name, file=sys.stderr)


if __name__ == "__main__":
    main()
