"""`pytest tests/e2e/test_isolation.py`: life without torch, ray, fastText, boto3, KenLM and ONNX Runtime."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[2]
TOKENIZER = str(REPOSITORY / "data" / "sample" / "tokenizer.json")

PROGRAM = """
    import sys
    from importlib.machinery import PathFinder

    OPTIONAL = {"torch", "ray", "fasttext", "boto3", "botocore", "safetensors", "publicsuffixlist", "adblock"}
    OPTIONAL |= {"transformers", "kenlm", "sentencepiece", "onnx", "onnxruntime", "detect_secrets", "bs4"}

    class Installed(PathFinder):
        "Finds what is installed, optional packages left aside."

        @classmethod
        def find_spec(cls, name, path=None, target=None):
            if name.split(".")[0] in OPTIONAL:
                return None
            return super().find_spec(name, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = Installed

    if __name__ == "__main__":
        from dolma.cli.main import main
        main()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """`dolma` in an environment without optional packages; its worker processes lack them too."""
    path = tmp_path / "isolated.py"
    path.write_text(textwrap.dedent(PROGRAM))
    lines = [{"id": str(i), "text": f"Text number {i} for someone@example.org to read."} for i in range(5)]
    for name in ("a", "b"):
        documents = tmp_path / "documents" / f"{name}.jsonl"
        documents.parent.mkdir(exist_ok=True)
        documents.write_text("".join(json.dumps(line | {"id": name + line["id"]}) + "\n" for line in lines))
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.onnx").write_bytes(b"")
    (model / "config.json").write_text("{}")
    (model / "tokenizer.json").write_bytes(Path(TOKENIZER).read_bytes())
    return path


def dolma(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(program), *arguments], cwd=program.parent, capture_output=True, text=True
    )


def test_help_works(program: Path) -> None:
    assert dolma(program, "--help").returncode == 0
    assert dolma(program, "train", "--help").returncode == 0


def test_everything_up_to_tokens_works(program: Path) -> None:
    documents = ("--documents", "documents/*.jsonl")
    commands = [
        ("tag", "-t", "length", "-t", "gopher", "-t", "pii", "-t", "code", *documents, "--workers", "2"),
        ("dedupe", "--by", "paragraphs", *documents),
        ("mix", "--keep", "gopher.word_count > 2", "--drop", "dedupe.fraction > 0.9", *documents, "--output", "mixed"),
        ("tokenize", "--tokenizer", TOKENIZER, *documents, "--output", "tokens"),
        ("stat", *documents),
        ("list",),
        ("verify", "."),
    ]
    for command in commands:
        ended = dolma(program, *command)
        assert ended.returncode == 0, (command, ended.stderr)


@pytest.mark.parametrize(
    ("arguments", "pip"),
    [
        pytest.param(
            ("train", "--tokens", "tokens", "--model", "olmo2_quickstart", "--steps", "1", "--output", "model"),
            "pip install 'dolma[train]'",
            id="train",
        ),
        pytest.param(
            ("tag", "-t", "length", "--documents", "documents/*.jsonl", "--executor", "ray"),
            "pip install 'dolma[ray]'",
            id="ray",
        ),
        pytest.param(
            ("tag", "-t", "length", "--documents", "s3://bucket/documents/*.jsonl"),
            "pip install 'dolma[s3]'",
            id="s3",
        ),
        pytest.param(("tag", "-t", "url", "--documents", "documents/*.jsonl"), "pip install 'dolma[url]'", id="url"),
        pytest.param(
            ("tag", "-t", "code_secrets_v1", "--documents", "documents/*.jsonl"),
            "pip install 'dolma[code]'",
            id="code_secrets_v1",
        ),
    ],
)
def test_what_needs_an_extra_says_how_to_install_it(program: Path, arguments: tuple[str, ...], pip: str) -> None:
    if arguments[0] == "train":
        made = dolma(
            program, "tokenize", "--tokenizer", TOKENIZER, "--documents", "documents/*.jsonl", "--output", "tokens"
        )
        assert made.returncode == 0, made.stderr
    ended = dolma(program, *arguments)
    assert ended.returncode == 2, ended.stderr
    assert pip in ended.stderr
    assert "Traceback" not in ended.stderr
