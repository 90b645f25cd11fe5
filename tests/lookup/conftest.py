"""A recipe over a tiny corpus, run through, to be asked about."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dolma.cli.main import run

ROOT = Path(__file__).parents[2]
TEXTS = {
    "keep": "A page about whales and ships, long enough to stay where it is.",
    "short": "Too short.",
    "copy": "A page about whales and ships, long enough to stay where it is.",
    "mail": "Write to whale@example.org about the ships that were seen, please.",
}
RECIPE = {
    "tag": {"taggers": ["length", "pii"]},
    "dedupe": [{"name": "exact"}],
    "mix": {
        "rules": {"size": {"keep": {"words": "length.words > 5"}}},
        "drop": ["exact.duplicate"],
        "spans": [{"attribute": "pii.email", "replace": "|||MAIL|||"}],
        "sources": {"web": {"repeat": 2}},
    },
    "tokenize": {"tokenizer": str(ROOT / "data" / "sample" / "tokenizer.json")},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended: exit status, standard output, and all that it printed."""

    exit_code: int
    out: str
    output: str


Ask = Callable[..., Ended]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Ask:
    """The `dolma` command in this process."""

    def call(*arguments: str) -> Ended:
        capsys.readouterr()
        status = run(list(arguments))
        printed = capsys.readouterr()
        return Ended(exit_code=status, out=printed.out, output=printed.out + printed.err)

    return call


@pytest.fixture
def recipe(tmp_path: Path, command: Ask) -> Path:
    """The path of a recipe whose stages have run: a source `web` of four documents, and one of a `book`."""
    for source, names in {"web": list(TEXTS), "books": ["whole"]}.items():
        path = tmp_path / source / "documents" / "a.jsonl"
        path.parent.mkdir(parents=True)
        lines = [
            {
                "id": name,
                "text": TEXTS.get(name, "A book of many words, which nobody has read to its end."),
                "source": source,
            }
            for name in names
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {"documents": [str(tmp_path / "*" / "documents" / "*.jsonl")], "output": str(tmp_path / "out")}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings | RECIPE))
    result = command("run", str(path), "--workers", "1")
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture
def ask(recipe: Path, command: Ask) -> Ask:
    """A command about the recipe."""

    def call(name: str, *arguments: str) -> Ended:
        of_recipe = () if name in ("run", "verify", "diff") else ("-c", str(recipe))
        return command(name, *of_recipe, *arguments)

    return call
