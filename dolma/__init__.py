"""Curate pretraining data and train an OLMo-family model on it.

Each command is a function too: `dolma.taggers.tag.tag`, `dolma.dedupers.exact.dedupe`, `dolma.mixers.mix.mix`,
`dolma.tokens.tokenize.tokenize`, `dolma.training.train`, `dolma.stats.stat.stat`. Importing `dolma` loads nothing.
"""

__version__ = "2.0.0.dev0"
