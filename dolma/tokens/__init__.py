"""Tokenizers and token shards, and the stage that writes them."""

from dolma.stages import Checks, Stage

STAGE = Stage(
    name="tokenize",
    folder="tokens",
    reads=("documents",),
    writes="tokens",
    beginning="loading the tokenizer, looking at the documents",
    after_mix=True,
    kept=True,
    run="dolma.tokens.tokenize:tokenize",
    plan="dolma.tokens.tokenize:plan",
    check="dolma.tokens.tokenize:check",
    again="dolma.tokens.tokenize:made_again",
    needs="dolma.tokens.tokenize:needs",
    show="dolma.tokens.tokenize:tables",
    checks={
        "tokenize": Checks(
            problems="dolma.tokens.verify:verify_tokens", contradictions="dolma.tokens.verify:contradictions"
        ),
    },
)
