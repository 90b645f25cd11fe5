"""Seconds that datatrove's quality filters take, for `benchmarks.taggers`; run by an interpreter that has that package.

    PYTHON datatrove_filters.py DOCUMENTS.jsonl

Times `filter` of one document after another, texts in memory: no reading, no writing. Each filter sees every document,
as in a run that keeps all measurements. Prints `{filter: seconds}`, of processor time. Imports nothing of this project.
"""

import json
import sys
import time

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)


def seconds(quality, texts):
    """Processor seconds of all calls; documents are made anew, since some filters change the text."""
    documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
    began = time.process_time()
    for document in documents:
        quality.filter(document)
    return time.process_time() - began


def main():
    """Print the seconds of each filter."""
    with open(sys.argv[1], encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    found = {}
    for make in (GopherRepetitionFilter, GopherQualityFilter, C4QualityFilter, FineWebQualityFilter):
        quality = make()
        seconds(quality, texts[:1])  # what is loaded on first use is left out
        found[make.__name__] = seconds(quality, texts)
    print(json.dumps(found))


main()
