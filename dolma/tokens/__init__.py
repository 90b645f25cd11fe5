"""Tokenizers and token shards, and the stage that writes them."""

from dolma.stages import Checks, Manual, Stage

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
    manual=Manual(
        help="""Encode documents into the raw shards that OLMo trainers read, with a row for each document.

        `dolma tokens` is the same command.
        """,
        example="""
        dolma tokenize --tokenizer data/sample/tokenizer.json --documents 'data/sample/*/documents/*.jsonl.gz' \\
            --output runs/t
        """,
        options={
            "Encoding": (
                *("tokenizer", "eos", "bos"),
                *("allow_special_tokens --allow-special-tokens/--no-special-tokens", "strip"),
            ),
            "Output": ("format", "dtype", "max_tokens_per_shard", "split_long_documents", "group_by", "shuffle"),
        },
        needed=("--tokenizer", "--documents", "--output"),
        output="Folder of the token shards.",
        below=("compare", "train", "mix", "reshard"),
        seeded=True,
    ),
    checks={
        "tokenize train": Checks(),
        **dict.fromkeys(
            ("tokenize", "tokenize mix", "tokenize reshard"),
            Checks(problems="dolma.tokens.verify:verify_tokens", contradictions="dolma.tokens.verify:contradictions"),
        ),
    },
)
