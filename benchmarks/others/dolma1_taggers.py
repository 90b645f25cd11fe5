"""Seconds that taggers of Dolma 1.2.1 take, for `benchmarks.taggers`; run by an interpreter that has that package.

    PYTHON dolma1_taggers.py DOCUMENTS.jsonl TAGGER...

Times `predict` of one document after another, texts in memory: no reading, no writing. Prints `{tagger: seconds}`, of
processor time; null where the tagger cannot be made there. Imports nothing of this project.
"""

import json
import sys
import time

from dolma.core.data_types import DocumentWithMetadata
from dolma.core.registry import TaggerRegistry


def seconds(tagger, documents):
    """Processor seconds of all calls."""
    began = time.process_time()
    for document in documents:
        tagger.predict(document)
    return time.process_time() - began


def main():
    """Print the seconds of each tagger."""
    with open(sys.argv[1], encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    # `cc_re` looks at the page that a text was on; the text has to stand in for it.
    documents = [
        DocumentWithMetadata(source="", id=str(i), text=text, metadata={"html": text}) for i, text in enumerate(texts)
    ]
    found = {}
    for name in sys.argv[2:]:
        try:
            tagger = TaggerRegistry.get(name)()
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            found[name] = None
            continue
        seconds(tagger, documents[:1])  # what is loaded on first use is left out
        found[name] = seconds(tagger, documents)
    print(json.dumps(found))


main()
