"""`python -m tests.fuzz TARGET`: search for inputs that a target does not survive, or replay its corpus."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.choices import Choices
from tests.fuzz.guard import guarded
from tests.fuzz.targets import CORPUS, NAMES, corpus, target

MAX_BYTES = 4 << 30
"""Address space of the search: what asks for more has a MemoryError, which is a finding."""


def once(name: str, data: bytes) -> None:
    """Give one input to a target, in a folder of its own."""
    module = target(name)
    getattr(module, "prepare", lambda: None)()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, guarded(Path(folder)):
        module.check(Choices(data), Path(folder))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--found", type=Path, default=Path("runs/fuzz"), help="folder for new inputs and findings")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", help="class of exception that is looked for; default: every one")
    parser.add_argument("--engine", choices=["atheris", "hypothesis"], default=None)
    parser.add_argument("--replay", action="store_true", help="no search; the corpus and its line coverage")
    given = parser.parse_args()
    if given.replay:
        sys.exit(_replay(given.target, given.found))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    options = {key: getattr(given, key) for key in ("target", "seconds", "found", "seed", "only")}
    search = Search(**options)
    sys.exit(search.by_atheris() if given.engine != "hypothesis" and _has_atheris() else search.by_hypothesis())


def _has_atheris() -> bool:
    try:
        import atheris  # noqa: F401
    except ImportError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search for findings, for some time."""

    target: str
    seconds: int
    found: Path
    seed: int
    only: Sequence[str] | None

    def check(self, data: bytes) -> None:
        """Give one input to the target; only findings of the classes looked for count."""
        try:
            once(self.target, data)
        except BaseException as error:
            if not self.only or type(error).__name__ in self.only:
                raise

    def by_atheris(self) -> int:
        """Search with libFuzzer, guided by the lines of the target's code; does not return."""
        import atheris

        # Only this code: Numba compiles the bytecode of kernels and does not know the instructions that are put in.
        code = [_module(path) for path in target(self.target).CODE]
        _forget_code()
        with atheris.instrument_imports(include=code):
            target(self.target)
        new = self.found / self.target
        new.mkdir(parents=True, exist_ok=True)
        arguments = [f"-max_total_time={self.seconds}", f"-seed={self.seed}", "-timeout=60", "-max_len=4096"]
        arguments += ["-rss_limit_mb=0", f"-artifact_prefix={new}/finding-", str(new), str(CORPUS / self.target)]
        atheris.Setup([sys.argv[0], *arguments], self.check)
        atheris.Fuzz()
        return 0

    def by_hypothesis(self) -> int:
        """Search in rounds of 500 inputs."""
        import hypothesis
        from hypothesis import strategies as st

        until, rounds = time.monotonic() + self.seconds, 0
        settings = hypothesis.settings(
            max_examples=500, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
        )

        def check(data: bytes) -> None:
            self.check(data)

        while time.monotonic() < until:
            search = settings(hypothesis.given(data=st.binary(max_size=1024))(check))
            try:
                hypothesis.seed(self.seed + rounds)(search)()
            except BaseException:  # noqa: BLE001  any exception is what is looked for
                traceback.print_exc()
                print(f"{self.target}: a finding in round {rounds + 1}")
                return 1
            rounds += 1
        print(f"{self.target}: no finding in {rounds} rounds")
        return 0


def _forget_code() -> None:
    """Have the code imported anew, so that it is measured."""
    for module in [loaded for loaded in sys.modules if loaded.startswith(("dolma", "tests.fuzz.targets."))]:
        del sys.modules[module]


def _module(path: str) -> str:
    """The name by which the package imports a file."""
    name = path.removesuffix(".py").replace("/", ".")
    return name if name.startswith("dolma.") else f"dolma.{name}"


def _replay(name: str, found: Path) -> int:
    import coverage

    measured = coverage.Coverage(data_file=None, include=[f"*/{path}" for path in target(name).CODE])
    inputs = [*corpus(name), *sorted(path for path in (found / name).glob("*") if "finding-" not in path.name)]
    _forget_code()
    measured.start()
    target(name)
    for path in inputs:
        once(name, path.read_bytes())
    measured.stop()
    print(f"{name}: {len(inputs):,} inputs")
    measured.report(file=sys.stdout, show_missing=True)
    return 0


if __name__ == "__main__":
    main()
