"""A tagger that writes vectors: how often each letter stands in a text."""

import dolma


@dolma.document_tagger(name="letters", vector=dolma.DocVector("of each letter, and one", size=9))
def letters(text):
    return {"vector": [*(text.count(letter) for letter in "abcdefgh"), 1]}
