"""`pytest tests/e2e/test_docs.py`: every command of README, docs and help pages is run, every recipe in them is read.

A console block's lines that begin with `$` are commands; a file's blocks run in order in a working folder of their own
that has the repository's `data` and `configs`.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
import yaml

from dolma.cli.main import ALIASES, COMMANDS, command_of
from dolma.config import make_recipe

if TYPE_CHECKING:
    from .conftest import Ended

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
# Its commands end with errors, which is for tests/test_messages.py.
OF_ERRORS = REPOSITORY / "docs" / "errors.md"

# Their scripts are for schedulers, which tests/e2e/test_scale.py and test_nodes.py stand in for.
OF_SCHEDULERS = [REPOSITORY / "docs" / name for name in ("scale.md", "nodes.md")]

# What is not run here, and why.
NOT_RUN = {
    "make demo": "makes a virtual environment; what it runs in it is tests/e2e/test_quickstart.py",
    "make test": "would run this test",
    "make check": "would run this test",
    "make lint": "is a step of CI",
    "make types": "is a step of CI",
    "pip install": "needs the network",
    "git clone": "needs the network",
    "aws": "needs an account",
}
# Training of a minute, made a few steps: the command is the same, and so is everything that it prints but the loss.
SHORTER = {
    r"dolma run configs/quickstart\.yaml(?!.*--dry-run)": "--set train.steps=2 --set train.checkpoint_every=1",
    r"dolma run configs/train/sample\.yaml": (
        "--set train.steps=2 --set train.duration_tokens=null --set train.evaluate.max_windows=4"
    ),
    r"dolma verify .*-c configs/quickstart\.yaml": "--set train.steps=2 --set train.checkpoint_every=1",
    r"dolma train .*--steps \d{2,}": "--steps 2",
}


def page_id(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def blocks(path: Path, *languages: str) -> list[str]:
    """The fenced blocks of these languages, in order."""
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```$", path.read_text(), re.M | re.S)


def commands(path: Path) -> list[str]:
    """The commands of a page, continued lines joined; without `$ `."""
    found = []
    for block in blocks(path, "console", "bash", "sh", "shell"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(("$ ", "dolma ", "make ", "pip ")):
                found.append(line.removeprefix("$ "))
    return found


def shortened(command: str) -> str:
    more = [addition for pattern, addition in SHORTER.items() if re.match(pattern, command)]
    for option in (words[0] for addition in more if (words := addition.split())):
        command = re.sub(rf" {option} [0-9]+", "", command)
    return " ".join([command.replace("step150", "step1").replace("step300", "step2"), *more])


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the repository to a command."""
    for name in ("data", "configs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "path", [path for path in PAGES if commands(path) and path not in (OF_ERRORS, *OF_SCHEDULERS)], ids=page_id
)
def test_the_commands_of_a_page_work(path: Path, working_folder: Path, dolma: Callable[..., Ended]) -> None:
    for command in commands(path):
        if any(command.startswith(start) for start in NOT_RUN):
            continue
        program, *arguments = shlex.split(shortened(command), comments=True)
        assert program == "dolma", f"{command}: run it here, or say in NOT_RUN why not"
        ended = dolma(*arguments)
        assert ended.status == 0, f"{command}\n{ended.err}"


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(path, "yaml")], ids=page_id)
def test_the_recipes_of_a_page_have_no_unknown_keys(path: Path) -> None:
    for block in blocks(path, "yaml"):
        make_recipe(yaml.safe_load(block), file=path.name)


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(path, "python")], ids=page_id)
def test_the_python_of_a_page_runs(
    path: Path, working_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The blocks of a page are one program; what a line prints is what its comment says."""
    monkeypatch.setattr(sys, "path", [str(working_folder), *sys.path])
    names = {"__name__": "example"}
    for block in blocks(path, "python"):
        exec(compile(block, str(path), "exec"), names)
        assert capsys.readouterr().out.splitlines() == re.findall(r"^ *print\(.*\)  # (.*)$", block, re.M)


def test_the_tagger_of_the_docs_tags(working_folder: Path, dolma: Callable[..., Ended]) -> None:
    source = next(block for block in blocks(REPOSITORY / "docs" / "tag.md", "python") if "document_tagger" in block)
    (working_folder / "shouting.py").write_text(source)
    arguments = ["--documents", "data/sample/forum/documents/*.gz", "--attributes", "runs/a", "--workers", "1"]
    assert dolma("tag", "--taggers", "shouting.py", *arguments).status == 0
    assert dolma("mix", "--keep", "shouting.share < 0.5", *arguments, "--output", "runs/m").status == 0


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_every_command_has_a_page_that_uses_it() -> None:
    for name in COMMANDS:
        page = REPOSITORY / "docs" / f"{name}.md"
        used = [command.split()[1] for command in commands(page) if command.startswith("dolma ")]
        assert name in [ALIASES.get(word, word) for word in used]


def test_the_examples_of_all_help_pages_work(working_folder: Path, dolma: Callable[..., Ended]) -> None:
    def examples(name: str) -> list[str]:
        command = command_of(name)
        below = command.commands.values() if isinstance(command, click.Group) else ()
        texts = [one.example for one in (command, *below)]  # type: ignore[attr-defined]
        return [line for text in texts for line in text.replace("\\\n", " ").strip().splitlines()]

    # `run` first: others look at what it leaves.
    for name in ["run", *(name for name in COMMANDS if name != "run")]:
        for command in examples(name):
            ended = dolma(*shlex.split(shortened(command))[1:])
            assert ended.status == 0, f"{command}\n{ended.err}"
