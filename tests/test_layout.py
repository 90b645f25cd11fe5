"""The shape of the repository: links, layers, what the wheel holds. Run: pytest tests/test_layout.py"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Container, Iterator
from pathlib import Path

import pytest

from dolma.stages import PACKAGES

ROOT = Path(__file__).parent.parent
LINKS = {"dolma/taggers", "dolma/mixers", "dolma/dedupers", "dolma/configs"}

# From the ground up; packages on one floor never import each other.
FLOORS = [
    {
        "amounts",
        "printable",
        "html_text",
        "errors",
        "keys",
        "names",
        "recipe_file",
        "config",
        "configs",
        "requirements",
        "stages",
    },
    {"kernels"},
    {"data"},
    {"models"},
    {"runner"},
    {"taggers", "dedupers", "mixers", "tokens", "training", "stats"},
    {"graph"},
    {"pipeline"},
    {"verification", "doctor", "classifier", "reshard", "compilation", "lookup", "removal"},
    {"api"},
    {"cli"},
    {"__main__"},
]
ALLOWED = dict.fromkeys(
    [("config", "training.config"), ("config", "dedupers.config")],
    "settings of a stage are data only, and stand beside its code",
)


def tracked() -> list[str]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def folder_of(link: str) -> str:
    """The top-level folder that a link inside the package stands for."""
    return (ROOT / link).resolve().name


def modules() -> Iterator[tuple[str, Path]]:
    """Every module's name below `dolma`, and its file."""
    linked = {ROOT / link for link in LINKS}
    for path in sorted((ROOT / "dolma").glob("**/*.py")):
        if linked.intersection(path.parents):  # Python 3.13 follows links; they come below
            continue
        yield ".".join(path.relative_to(ROOT / "dolma").with_suffix("").parts).removesuffix(".__init__"), path
    for link in sorted(LINKS):
        folder = (ROOT / link).resolve()
        for path in sorted(folder.glob("**/*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((Path(link).name, *parts)).removesuffix(".__init__"), path


def imports(tree: ast.AST, module: str, known: Container[str], *, inside_functions: bool = True) -> set[str]:
    """What `module` imports of the package: a module's name below `dolma` where there is one, else what holds the name.

    Imports for type checkers alone do not count: they are never run.
    """
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"dolma.{module}, line {node.lineno}: a relative import; write `from dolma... import`"
            )
            top, _, inner = str(node.module).partition(".")
            if top == "dolma":
                inside = {alias.name: f"{inner}.{alias.name}".removeprefix(".") for alias in node.names}
                found |= {name if name in known else inner or "__init__" for name in inside.values()}
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("dolma.") for alias in node.names if alias.name.startswith("dolma.")}
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            found |= imports(ast.Module(node.orelse, []), module, known, inside_functions=inside_functions)
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            found |= imports(node, module, known, inside_functions=inside_functions)
    return found


def graph(*, inside_functions: bool = True) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports."""
    known = dict(modules())
    return {
        name: imports(ast.parse(path.read_text("utf-8")), name, known, inside_functions=inside_functions)
        for name, path in known.items()
    }


def floor(module: str) -> int:
    """The floor a module stands on; the package's own `__init__` is below them all."""
    top = module.split(".")[0]
    return next((i for i, names in enumerate(FLOORS) if top in names), -1)


def allowed(module: str, other: str) -> bool:
    top, other_top = module.split(".")[0], other.split(".")[0]
    ground = floor(module) == floor(other) == 0
    return top == other_top or floor(other) < floor(module) or ground or (module, other) in ALLOWED


def test_the_four_links_are_the_only_ones():
    links = {line.split("\t")[1] for line in tracked() if line.startswith("120000")}
    assert links == LINKS


def test_every_module_has_a_floor():
    assert [name for name, _ in modules() if name != "__init__" and floor(name) < 0] == []


def test_imports_go_down_only_and_stages_do_not_import_each_other():
    found = [(name, other) for name, others in graph().items() for other in sorted(others)]
    assert len(found) > 100
    assert [f"dolma.{name} imports dolma.{other}" for name, other in found if not allowed(name, other)] == []


def test_every_allowed_exception_is_needed():
    found = graph()
    assert [pair for pair in ALLOWED if pair[1] not in found[pair[0]]] == []


def test_names_of_stages_are_compared_in_no_module_but_their_own():
    own = {Path(entry.package.replace(".", "/")).name for entry in PACKAGES.values()}
    found = [
        f"{name}:{node.lineno}: {ast.unparse(node)}"
        for name, path in modules()
        if name.split(".")[0] not in own
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare)
        and any(isinstance(one, ast.Constant) and one.value in PACKAGES for one in ast.walk(node))
    ]
    assert found == []


def test_no_circle_among_modules():
    loaded = graph(inside_functions=False)
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in sorted(loaded[name] & loaded.keys()):
                visit(other, (*trail, name))
            done.add(name)

    for name in loaded:
        visit(name, ())


def test_circles_closed_by_imports_inside_functions_are_known():
    loaded = graph()

    def reached(name: str) -> set[str]:
        found, left = set[str](), [name]
        while left:
            new = (loaded[left.pop()] & loaded.keys()) - found
            found |= new
            left += new
        return found

    reach = {name: reached(name) for name in loaded}
    inside = {name.split(".")[0] for name in loaded if name in reach[name] and "." in name}
    assert inside <= {"training", "taggers"}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import dolma.runner.stage", {"runner.stage"}),
        ("import dolma.runner.stage as stage, os", {"runner.stage"}),
        ("from dolma.runner.stage import StageRun", {"runner.stage"}),
        ("from dolma.runner import stage, other", {"runner.stage", "runner"}),
        ("from dolma import errors, __version__", {"errors", "__init__"}),
        ("def f():\n    if True:\n        from dolma import errors", {"errors"}),
        ("try:\n    from dolma import errors\nexcept ImportError:\n    import dolma.runner", {"errors", "runner"}),
        ("if TYPE_CHECKING:\n    from dolma import errors", set()),
        ("from dolmades import errors", set()),
    ],
)
def test_an_import_is_seen_however_it_is_written(line, found):
    assert imports(ast.parse(line), "here", {"errors", "run", "runner.stage"}) == found


@pytest.mark.parametrize("link", sorted(LINKS))
@pytest.mark.parametrize("line", ["import {}\n", "from {} import tag\n", "import {}.tag\n"])
def test_ruff_refuses_a_bare_name(link, line):
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--select",
        "TID251",
        "--no-cache",
        "--stdin-filename",
        "x.py",
        "-",
    ]
    found = subprocess.run(command, cwd=ROOT, input=line.format(folder_of(link)), capture_output=True, text=True)
    assert found.returncode == 1
    assert f"import {link.replace('/', '.')}: the bare name would load a second copy" in found.stdout


@pytest.mark.e2e
def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(tmp_path):
    source = tmp_path / "source"
    for line in tracked():
        name = line.split("\t")[1]
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to((ROOT / name).readlink())
        elif (ROOT / name).exists():
            shutil.copyfile(ROOT / name, target)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    packed = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == files_of_the_package()


def files_of_the_package() -> dict[str, bytes]:
    """Every tracked file of the package and of the folders that links in it stand for, by its path in a wheel."""
    linked = {folder_of(link): link for link in LINKS}
    found = {}
    for line in tracked():
        name = line.split("\t")[1]
        top = name.split("/")[0]
        if (top == "dolma" or top in linked) and not (ROOT / name).is_symlink() and (ROOT / name).exists():
            packed = name if top == "dolma" else name.replace(top, linked[top], 1)
            found[packed] = (ROOT / name).read_bytes()
    return found
