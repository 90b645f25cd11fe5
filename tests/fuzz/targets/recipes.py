"""Recipes: a recipe, or a `ConfigError`; in bounded time and memory.

Made for YAML that refers to itself, grows without end, or is nested deeper than Python's stack.
"""

from __future__ import annotations

from pathlib import Path

from dolma.config import dump_recipe, read_recipe
from dolma.errors import ConfigError
from tests.fuzz.choices import Choices

CODE = ("dolma/config.py", "dolma/recipe_file.py")
SEED = (
    b"documents: [data/**/*.jsonl.gz]\noutput: runs/a\nseed: 3\ntag:\n  taggers: [length, {use: gopher, as: g}]\n"
    b"dedupe: [{name: near}]\nmix:\n  keep: ['length.words > 1']\n  sources: {web: {share: 0.5}}\n"
    b"tokenize: {tokenizer: t.json}\ntrain: {model: {d_model: 8}}\n"
)
WORDS = (
    *(
        b"&a [",
        b"*a",
        b"a: &a [*a, *a, *a, *a, *a, *a, *a, *a]\n",
        b"<<: *a",
        b"&a",
        b"no",
        b"!!python/name:os.system ",
    ),
    *(b"[" * 500, b"{a: " * 500, b"'", b'"', b"\n", b"  ", b": ", b"- ", b"1e400", b"9" * 400, b"2024-01-01", b"\t"),
    *(b"\0", b"\xff", b"? ", b"---\n", b"...", b"%YAML 1.1\n", b"!!binary x", b"~", b"documents: &d [*d]\n", b".nan"),
)
_BOMB = b"".join(b"k%d: &k%d [%s]\n" % (i, i, b", ".join([b"*k%d" % (i - 1)] * 9) if i else b"x") for i in range(12))


def check(choices: Choices, folder: Path) -> None:
    """Read a changed recipe; what is accepted reads back the same from its own dump."""
    content = choices.changed(choices.pick([SEED, _BOMB, SEED]), WORDS)
    path = folder / "recipe.yaml"
    path.write_bytes(content)
    try:
        recipe = read_recipe(str(path))
    except ConfigError:
        return
    path.write_bytes(dump_recipe(recipe))
    again = read_recipe(str(path))
    assert dump_recipe(again) == dump_recipe(recipe)
