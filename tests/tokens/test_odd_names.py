"""Whatever ids and paths are, shards verify and every document is traced.

Run: pytest tests/tokens/test_odd_names.py
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.config import TokenizeConfig
from dolma.data.dataset import Dataset
from dolma.runner.options import RunOptions
from dolma.tokens.tokenize import tokenize
from dolma.tokens.verify import verify_tokens
from dolma.training.config import ModelConfig, TrainConfig
from dolma.training.stages import resolve_stages
from dolma.training.trace import documents_of_step, steps_of_document

TOKENIZER = Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json"
TRAINING = TrainConfig(
    model=ModelConfig(d_model=8, layers=1, heads=1, mlp_hidden=8), sequence_length=8, batch_size=1, epochs=1.0
)
CHARACTERS = st.characters(exclude_categories=["Cs"]) | st.sampled_from('\r\n\\",\t\u2028\x85nr')
IDS = st.text(CHARACTERS | st.just("\0"), max_size=8)
FOLDERS = st.text(CHARACTERS, max_size=8).filter(lambda name: not set(name) & set("/\0*?["))


@settings(max_examples=15, deadline=None)
@given(st.lists(IDS, min_size=1, max_size=4, unique=True), FOLDERS)
@example(["a\r", "b\r\n", "\r"], "x")
@example(["a"], "x\r")
@example(["a\nb", "a\\nb"], "x\n\\n")
def test_odd_ids_and_paths_are_verified_and_traced(ids: list[str], name: str) -> None:
    home = Path(tempfile.mkdtemp())
    try:
        odd = f"x{name}"
        path = home / odd / (f"{odd}.jsonl" if "\\" not in name else "a.jsonl")  # document files have no backslash
        path.parent.mkdir()
        lines = [msgspec.json.encode({"id": id, "text": "some words here " * 10}) for id in ids]
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        config = TokenizeConfig(tokenizer=str(TOKENIZER))
        tokens = str(home / "tokens")
        tokenize(Dataset(documents=(str(path.parent),)), config, output=tokens, options=RunOptions(workers=1))
        assert verify_tokens(tokens) == []
        stages = resolve_stages(TRAINING, tokens)
        seen = [found for step in range(1, stages.steps + 1) for found in documents_of_step(stages, step)]
        assert {found.id for found in seen} <= set(ids)
        assert {found.path for found in seen} == {path.name}
        for found in seen[:3]:
            assert found in list(steps_of_document(stages, found.id))
    finally:
        shutil.rmtree(home)
