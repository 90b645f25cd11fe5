"""How other tools find near-duplicates, so that their published settings mean about the same here.

None of them verifies what shares a band, and documents that share one are one component (union-find). Their hashes are
not ours, so the same pairs share a band with the same probability, but not by the same permutations.

    datatrove    `MinhashConfig` of `pipeline/dedup/minhash.py`: word 5-grams, 14 buckets of 8. `simplify_text` of
                 `utils/text.py` evens out first. FineWeb (Penedo et al. 2024, arXiv:2406.17557, section 3.4) aims with
                 these at documents that are at least 75 % alike. A text of fewer than 5 words has no shingle.
                 Approximated: words, which there a tokenizer of the language cuts, and punctuation, of which there is
                 a list; of scripts without spaces each letter is a word here.
    text-dedup   `MinHashArgs` of `utils/args.py`: word 5-grams, 250 permutations, threshold 0.7, at least 5 words;
                 `optimal_param` makes 25 bands of 10 rows of that. Words are cut at `\\W` and are in lower case.
                 Approximated: each of two neighbouring separators makes an empty word there, and none here.
    nemo         `FuzzyDeduplicationWorkflow` of NeMo Curator (25.09 and later): 24 characters of the text as it is, 20
                 bands of 13; the configuration of 24.07 has the threshold 0.8 beside these bands. That the text is not
                 evened out is taken from there being no setting for it.
    dolma3       README of `allenai/duplodocus`, with which Dolma 3 was made: 26 buckets of 11, 5-grams. Approximated:
                 these are of tokens of `cl100k_base` there, and of words here; whether the text is evened out before
                 is not said. The threshold is that at which these bands find 90 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dolma.dedupers.lsh import Bands


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What stands for settings that are not given; `normalize` as in `dolma.kernels.normalize`.

    `unit` is "word" or "character"; characters are `folded` (lower case, white space as one space), or as they are.
    """

    unit: str = "word"
    n: int = 5
    bands: Bands | None = None
    threshold: float = 0.8
    verify: bool = False
    normalize: tuple[str, ...] = ()
    folded: bool = True
    min_words: int = 0


OURS = Dialect(verify=True)
DIALECTS: Mapping[str, Dialect] = {
    "datatrove": Dialect(
        bands=Bands(n=14, rows=8),
        threshold=0.75,
        normalize=("accents", "lower", "punctuation", "digits", "spaces"),
        min_words=5,
    ),
    "text-dedup": Dialect(bands=Bands(n=25, rows=10), threshold=0.7, min_words=5),
    "nemo": Dialect(unit="character", n=24, bands=Bands(n=20, rows=13), folded=False),
    "dolma3": Dialect(bands=Bands(n=26, rows=11)),
}
