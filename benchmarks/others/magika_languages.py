"""Languages that magika guesses by content alone, for `benchmarks.code`; run by an interpreter that has that package.

    PYTHON magika_languages.py DOCUMENTS.jsonl

Prints `{"version", "seconds", "labels"}`: wall seconds of all calls after the first, and magika's label of each text.
Imports nothing of this project.
"""

import importlib.metadata
import json
import sys
import time

from magika import Magika


def main():
    """Print the labels."""
    with open(sys.argv[1], encoding="utf-8") as lines:
        texts = [json.loads(line)["text"].encode() for line in lines]
    magika = Magika()
    magika.identify_bytes(texts[0])
    began = time.perf_counter()
    labels = [str(magika.identify_bytes(text).output.label) for text in texts]
    seconds = time.perf_counter() - began
    print(json.dumps({"version": importlib.metadata.version("magika"), "seconds": seconds, "labels": labels}))


main()
