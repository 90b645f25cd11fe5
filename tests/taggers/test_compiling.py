"""After a run has begun, no tagger waits for a compiler. Run: `pytest tests/taggers/test_compiling.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dolma.config import TaggerSpec
from dolma.runner.compiling import sample_batch
from dolma.runner.progress import NullReporter
from dolma.taggers import compiling
from dolma.taggers.compiling import compile_kernels
from dolma.taggers.names import BUILT_IN
from dolma.taggers.registry import find, make_tagger
from dolma.taggers.tagger import needs_of

ROOT = Path(__file__).parents[2]

# In a process of its own, so that nothing but the call under test has loaded a kernel.
PROGRAM = """
import random
import numpy as np
from dolma.config import TaggerSpec
from dolma.data.batch import TextBatch
from dolma.kernels import compiled
from dolma.runner.compiling import METADATA, TEXTS
from dolma.taggers.names import BUILT_IN
from dolma.taggers.registry import find, tagger_of_process
from dolma.taggers import compiling
from dolma.taggers.compiling import compile_kernels
from dolma.taggers.tagger import needs_of
import msgspec

def signatures():
    return {f"{k.__module__}.{k.__name__}": [str(kinds) for kinds in k.natives] for k in compiled.KERNELS}

taggers, specs = {}, []
for name in BUILT_IN:
    if all(need.kind == "metadata" for need in needs_of(find(name))):
        specs.append(TaggerSpec(use=name))
        taggers[name] = tagger_of_process(specs[-1])
compile_kernels(specs)
known = signatures()
rng = random.Random(0)
alphabet = "".join(TEXTS) + "\\0\\x85\\u2028\\U0001F600"
texts = [[], [""], ["a"], list(TEXTS[::-1]), ["a" * 20_000], ["\\n" * 3000], ["\\u4e2d" * 5000]]
texts += [["".join(rng.choices(alphabet, k=rng.randrange(400))) for _ in range(8)] for _ in range(4)]
metadata = msgspec.json.encode(METADATA)
for some in texts:
    for name, tagger in taggers.items():
        tagger(TextBatch.of(some, metadata=[metadata] * len(some)))
        for kernel, now in signatures().items():
            if now != known.get(kernel):
                print(f"{name}: {kernel} was compiled for {now}, at the start for {known.get(kernel)}")
                known[kernel] = now
writable = TextBatch(utf8=np.frombuffer(bytearray(b"ab c"), np.uint8), offsets=np.array([0, 4]), ids=["0"],
                     sources=[""], lines=np.array([1]), metadata=[metadata])
for tagger in taggers.values():
    tagger(writable)
assert signatures() == known, "a writable buffer"
print(len(taggers), "taggers")
"""


def test_nothing_is_compiled_after_the_start_whatever_the_batch():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *compiled, taggers = done.stdout.splitlines()
    assert compiled == []
    assert int(taggers.split()[0]) > 10


def test_only_built_in_taggers_are_called_before_the_run(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from dolma.data.columns import DocInt\n"
        "class Mine:\n"
        "    name, version, outputs = 'mine', 1, {'n': DocInt('nothing')}\n"
        "    def __call__(self, batch):\n"
        "        raise SystemExit('called')\n"
    )
    compile_kernels([TaggerSpec(use=str(path)), TaggerSpec(use="length")], NullReporter())


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_tagger_answers_the_sample(name):
    if any(need.kind != "metadata" for need in needs_of(find(name))):
        pytest.skip("needs a model, a list or an extra")
    tagger = make_tagger(TaggerSpec(use=name))
    assert tagger(sample_batch()).keys() == tagger.outputs.keys()


def test_many_taggers_are_compiled_by_two_processes(monkeypatch):
    monkeypatch.setattr(compiling, "cpu_count", lambda: 2)
    specs = [TaggerSpec(use=name) for name in ("length", "gopher", "fineweb", "script", "madlad", "structure")]
    second = compiling._SecondProcess(specs)
    second.start()
    assert second._process is not None
    assert second._process.wait(timeout=300) == 0
    second.end()
    few = compiling._SecondProcess(specs[:-1])
    few.start()
    assert few._process is None
    few.end()
