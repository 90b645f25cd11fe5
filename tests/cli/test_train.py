"""`dolma train` and what is below it, `dolma eval`, `dolma trace`. Run: pytest tests/cli/test_train.py"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("torch")

if TYPE_CHECKING:
    from .conftest import Dolma

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> str:
    from dolma.cli.main import run

    folder = str(tmp_path_factory.mktemp("tokenized") / "tokens")
    documents = f"{SAMPLE}/forum/documents/*.jsonl.gz"
    arguments = ["--tokenizer", str(SAMPLE / "tokenizer.json"), "--documents", documents, "--output", folder]
    assert run(["tokenize", *arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def trained(tokens: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps with a checkpoint after each."""
    from dolma.cli.main import run

    folder = tmp_path_factory.mktemp("trained") / "run"
    sizes = ["--steps", "2", "--batch-size", "2", "--sequence-length", "32", "--set", "train.checkpoint_every=1"]
    assert run(["train", "--tokens", tokens, *sizes, "--output", str(folder)]) == 0
    return folder


def test_a_plan_as_json(dolma: Dolma, tokens: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("train: {steps: 7, batch_size: 2, sequence_length: 32}\n")
    plan = json.loads(dolma("train", "plan", recipe, "--tokens", tokens, "--json").out)
    assert (plan["steps"], plan["tokens"]) == (7, 7 * 2 * 32)


def test_a_plan_of_a_recipe_without_training_is_an_error(dolma: Dolma, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("stat: {}\n")
    ended = dolma("train", "plan", recipe)
    assert ended.status == 2
    assert "has no `train:`" in ended.err


def test_a_plan_without_shards_says_what_to_give(dolma: Dolma, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("train: {steps: 7}\n")
    ended = dolma("train", "plan", recipe)
    assert ended.status == 2
    assert "there are no token shards: give `--tokens` or `sources`" in ended.err


def test_evaluation_of_a_run_and_of_its_export_agree(dolma: Dolma, trained: Path, tokens: str, tmp_path: Path) -> None:
    assert dolma("train", "export", trained, "--output", tmp_path / "hf").status == 0
    found = [
        json.loads(dolma("eval", model, "--tokens", f"forum={tokens}", "--length", "64", "--json").out)
        for model in (trained, trained / "step2", tmp_path / "hf")
    ]
    losses = [evaluation["held_out"]["forum"]["loss"] for evaluation in found]
    assert losses == [pytest.approx(losses[0], rel=1e-5)] * 3


@pytest.mark.parametrize("sources", [[], ["second"], ["first", "second"]], ids=len)
def test_the_tokenizer_is_that_of_any_source(sources: list[str], dolma: Dolma, tokens: str, tmp_path: Path) -> None:
    for name in ("first", "second"):
        shutil.copytree(tokens, tmp_path / name)
        if name not in sources:
            (tmp_path / name / "tokenizer.json").unlink()
    sizes = ["--steps", "1", "--batch-size", "2", "--sequence-length", "32"]
    ratios = [f"train.sources.{name}={{tokens: {tmp_path / name}, share: 0.5}}" for name in ("first", "second")]
    settings = [word for ratio in ratios for word in ("--set", ratio)]
    run = tmp_path / "run"
    assert dolma("train", *sizes, *settings, "--output", run).status == 0
    exported = dolma("train", "export", run, "--output", tmp_path / "hf")
    evaluated = dolma("eval", run, "--task", f"facts={SAMPLE}/tasks/facts.jsonl", "--max-items", "1")
    assert exported.status == 0
    assert (tmp_path / "hf" / "tokenizer.json").exists() == bool(sources)
    assert ("warning: no tokenizer.json was written" in exported.err) == (not sources)
    assert evaluated.status == (0 if sources else 2), evaluated.err
    assert ("give `--tokenizer FILE`" in evaluated.err) == (not sources)


def test_status_of_training_that_was_stopped_has_its_steps(dolma: Dolma, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    assert f"train: complete, {run}\n" in dolma("run", tmp_path, "--status").out
    (run / "manifest.json").unlink()
    shutil.rmtree(run / "step2")
    assert dolma("run", tmp_path, "--status").out.splitlines() == [
        f"checkpoint: complete, {run}/step1",
        f"train: unfinished, {run}; 1 of 2 steps",
    ]


def test_evaluation_on_nothing_is_an_error(dolma: Dolma, trained: Path) -> None:
    ended = dolma("eval", trained)
    assert ended.status == 2
    assert "nothing says what to evaluate on\n  give `--tokens NAME=DIR`, or a task" in ended.err


def test_evaluation_on_something_without_a_name_is_an_error(dolma: Dolma, trained: Path) -> None:
    ended = dolma("eval", trained, "--tokens", "somewhere")
    assert ended.status == 2
    assert "--tokens somewhere: expected NAME=PATH" in ended.err


def test_a_soup_is_a_checkpoint(dolma: Dolma, trained: Path, tmp_path: Path) -> None:
    ended = dolma("train", "soup", trained / "step1", trained / "step2", "--output", tmp_path / "soup")
    assert ended.status == 0, ended.err
    assert dolma("train", "export", tmp_path / "soup", "--output", tmp_path / "hf").status == 0


def test_a_step_is_traced_to_its_documents(dolma: Dolma, trained: Path) -> None:
    lines = dolma("trace", "--run", trained, "--step", "1", "--json").out.splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["window"] for row in rows} == {0, 1}
    seen = dolma("trace", "--run", trained, "--document", rows[0]["id"], "--json").out.splitlines()
    assert lines[0] in seen


@pytest.mark.parametrize("arguments", [[], ["--step", "1", "--document", "x"]])
def test_a_trace_asks_one_question(dolma: Dolma, trained: Path, arguments: list[str]) -> None:
    ended = dolma("trace", "--run", trained, *arguments)
    assert ended.status == 2
    assert "give one of SHARD:POSITION, --step and --document" in ended.err


@pytest.mark.parametrize("flag", ["--tokens", "--task"])
def test_a_name_that_is_given_twice_to_eval_is_refused(dolma: Dolma, trained: Path, tokens: str, flag: str) -> None:
    ended = dolma("eval", trained, flag, f"a={tokens}", flag, "a=other")
    assert ended.status == 2
    assert f"{flag} a=other: the name 'a' is given twice" in ended.err


@pytest.mark.parametrize("command", ["plan", "train"])
def test_tokens_beside_sources_of_every_stage_are_refused(
    dolma: Dolma, tokens: str, tmp_path: Path, command: str
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"train: {{steps: 1, sources: {{a: {{tokens: {tokens}, share: 1}}}}}}\n")
    given = ["plan", recipe] if command == "plan" else ["-c", recipe, "--output", tmp_path / "run"]
    ended = dolma("train", *given, "--tokens", tmp_path / "others")
    assert ended.status == 2
    assert "every stage of `train` names its token shards in `sources`" in ended.err
    assert not (tmp_path / "run").exists()


def test_tokens_beside_sources_of_one_stage_are_read(dolma: Dolma, tokens: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    own = f"sources: {{a: {{tokens: {tokens}, share: 1}}}}"
    recipe.write_text(
        f"train: {{sequence_length: 32, stages: [{{name: a, steps: 1, {own}}}, {{name: b, steps: 1}}]}}\n"
    )
    assert dolma("train", "plan", recipe, "--tokens", tokens).status == 0


@pytest.mark.parametrize(
    "given", ["--peak-flops 0", "--peak-flops nan", "--peak-flops -1", "--mfu nan", "--mfu 1e-320"]
)
def test_a_plan_takes_no_rate_that_no_device_has(dolma: Dolma, tmp_path: Path, given: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("train: {steps: 7}\n")
    ended = dolma("train", "plan", recipe, *given.split())
    assert ended.status == 2
    assert given.split()[0] in ended.err


@pytest.mark.parametrize(
    "content",
    ["", "[]", "5", '{"config": 5}', '{"config": {"stages": 1}}', '{"config": {}, "beside": 3}'],
)
def test_damaged_settings_of_a_run_are_named_and_overwrite_starts_afresh(
    dolma: Dolma, tokens: str, tmp_path: Path, content: str
) -> None:
    run = tmp_path / "run"
    arguments = ["train", "--tokens", tokens, "--steps", "1", "--batch-size", "1", "--sequence-length", "16", "-o", run]
    assert dolma(*arguments).status == 0
    (run / "config.json").write_text(content)
    ended = dolma(*arguments)
    assert ended.status == 3
    assert "config.json: does not hold the settings of a training run" in ended.err
    assert dolma(*arguments, "--overwrite").status == 0
    assert json.loads((run / "config.json").read_text())["config"]["steps"] == 1


@pytest.mark.parametrize("content", ['{"ste', "[]", "5\n", '{"step": 1}\n', '{"step": 1e400}\n'])
def test_a_bad_line_of_evaluations_is_named_and_none_is_lost(
    dolma: Dolma, tokens: str, tmp_path: Path, content: str
) -> None:
    run = tmp_path / "run"
    sizes = ["--batch-size", "1", "--sequence-length", "16"]
    evaluate = f"train.evaluate={{every: 1, max_windows: 1, sources: {{a: {tokens}}}}}"
    arguments = ["train", "--tokens", tokens, *sizes, "--set", evaluate, "-o", run, "--set", "train.schedule=constant"]
    assert dolma(*arguments, "--steps", "1").status == 0
    whole = (run / "evaluations.jsonl").read_text()
    (run / "evaluations.jsonl").write_text(whole + content)
    ended = dolma(*arguments, "--steps", "2")
    assert ended.status == 3
    assert "evaluations.jsonl:2: is no evaluation" in ended.err
    assert (run / "evaluations.jsonl").read_text() == whole + content
    (run / "evaluations.jsonl").write_text(whole)
    assert dolma(*arguments, "--steps", "2").status == 0
    found = (run / "evaluations.jsonl").read_text()
    assert found.startswith(whole)
    assert [json.loads(line)["step"] for line in found.splitlines()] == [1, 2]


def test_eval_refuses_another_tokenizer_and_windows_beyond_the_context(
    dolma: Dolma, trained: Path, tokens: str, tmp_path: Path
) -> None:
    other = tmp_path / "tokenizer.json"
    other.write_text((SAMPLE / "tokenizer.json").read_text() + "\n")
    task = f"facts={SAMPLE / 'tasks' / 'facts.jsonl'}"
    ended = dolma("eval", trained, "--task", task, "--tokenizer", other)
    assert ended.status == 3
    assert "is not the tokenizer that" in ended.err
    ended = dolma("eval", trained, "--tokens", f"a={tokens}", "--length", "200000")
    assert ended.status == 2
    assert "is 200,000 tokens, but the model was made for at most" in ended.err


def test_weights_of_a_run_are_those_of_a_checkpoint(dolma: Dolma, trained: Path, tokens: str, tmp_path: Path) -> None:
    ended = dolma(
        "train", "--tokens", tokens, "--steps", "1", "--batch-size", "1", "--sequence-length", "16",
        "--set", f"train.init_from={trained}", "-o", tmp_path / "run",
    )  # fmt: skip
    assert ended.status == 3
    assert f"is a training run, not one of its checkpoints\n  give one, such as {trained}/step2" in ended.err


def test_a_dry_run_of_a_recipe_lists_the_training_that_is_replaced(dolma: Dolma, tokens: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    home = tmp_path / "home"
    shutil.copytree(tokens, home / "tokens")
    (home / "recipe.yaml").write_text("{}")
    text = "output: {}\ntrain: {{model: olmo2_quickstart, steps: {}, batch_size: 1, sequence_length: 16}}\n"
    recipe.write_text(text.format(home, 2))
    assert dolma("run", recipe).status == 0
    recipe.write_text(text.format(home, 1))
    said = f"train, {home}/train: `steps` was 2, now 1"
    assert f"replaced: {said}" in dolma("run", recipe, "--dry-run").err
    ended = dolma("run", recipe)
    assert (ended.status, said in ended.err) == (2, True)
    ended = dolma("run", recipe, "--dry-run", "--overwrite")
    assert (ended.status, "a run that is replaced" in ended.out) == (0, True)
    assert dolma("run", recipe, "--overwrite").status == 0
    assert (home / "train" / "step1").is_dir()


def test_folders_that_are_none_are_told_with_what_to_give(
    dolma: Dolma, trained: Path, tokens: str, tmp_path: Path
) -> None:
    sizes = ["--steps", "1", "--batch-size", "1", "--sequence-length", "16", "--output", tmp_path / "out"]
    shutil.copytree(tokens, tmp_path / "tokens")
    (tmp_path / "raw.jsonl").write_text('{"id": "1", "text": "a"}\n')
    said = {
        "tokns": f"no such folder of token shards\n  did you mean '{tmp_path}/tokens'?",
        "raw.jsonl": "is a file, expected a folder of token shards\n  make one of documents: `dolma tokenize",
        "": f"no tokens.json in this folder\n  did you mean '{tmp_path}/tokens'?",
    }
    for name, message in said.items():
        for command in (["train", *sizes, "--tokens"], ["train", *sizes, "--dry-run", "--tokens"]):
            ended = dolma(*command, str(tmp_path / name).rstrip("/"))
            assert (ended.status, message in ended.err) == (3, True), ended.err
    assert "nope: no such folder" in dolma("train", "export", tmp_path / "nope", "--output", tmp_path / "hf").err
    ended = dolma("train", "export", trained.parent, "--output", tmp_path / "hf")
    assert f"did you mean '{trained}'?" in ended.err


def test_an_empty_folder_and_a_link_among_checkpoints_are_not_taken_for_some(
    dolma: Dolma, trained: Path, tokens: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "step9").mkdir()
    (tmp_path / "theirs").mkdir()
    (run / "step3.tmp").symlink_to(tmp_path / "theirs")
    sizes = ["--steps", "2", "--batch-size", "2", "--sequence-length", "32", "--set", "train.checkpoint_every=1"]
    assert dolma("train", "--tokens", tokens, *sizes, "--output", run).status == 0
    assert (tmp_path / "theirs").is_dir()
    assert not (run / "step3.tmp").is_symlink()


def test_settings_that_cannot_be_have_a_next_step(dolma: Dolma, tokens: str, tmp_path: Path) -> None:
    for setting in (
        "steps=0",
        "betas=[0.9, 1]",
        "threads=100000",
        "epochs=1e300",
        "batch_size_warmup={start: 3, steps: 2}",
    ):
        ended = dolma("train", "--tokens", tokens, "--set", f"train.{setting}", "--output", tmp_path / "out")
        assert ended.status == 2
        assert "\n  " in ended.err, ended.err


def test_presets_are_listed(dolma: Dolma) -> None:
    assert "olmo2_quickstart" in dolma("train", "presets").out
    assert json.loads(dolma("train", "presets", "--json").out)["olmo2_1b"]["d_model"] == 2048
