"""`pytest tests/data/storage/test_table.py`: what all storages do alike, against real servers on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma.config import TagConfig
from dolma.data import streams
from dolma.data.dataset import Dataset
from dolma.data.documents import DocumentWriter
from dolma.data.parquet import open_parquet
from dolma.data.storage.remote import Remote, Trouble
from dolma.data.storage.table import storage_of
from dolma.doctor import try_place
from dolma.errors import ConfigError, DataError, WriteError
from dolma.runner.options import RunOptions
from dolma.taggers.tag import tag

# boto of before 2025 asks the clock in a way that Python 3.12 warns of.
pytestmark = pytest.mark.filterwarnings(r"ignore:datetime\.datetime\.utcnow\(\) is deprecated:DeprecationWarning")
LONG = os.urandom(1 << 20) * 20


def remote_only(base: str) -> Remote:
    storage = storage_of(base)
    if not isinstance(storage, Remote):
        pytest.skip("remote storages only")
    return storage


def test_what_was_written_is_read(base: str) -> None:
    path = f"{base}/deep/ü b?#%+.bin"
    streams.write_bytes(path, LONG)
    assert streams.size(path) == len(LONG)
    assert streams.read_bytes(path) == LONG


def test_a_file_is_read_from_any_position(base: str) -> None:
    path = f"{base}/a.bin"
    streams.write_bytes(path, LONG)
    with streams.open_seekable(path) as file:
        for at, n in ((len(LONG) - 7, 7), (0, 3), (5_000_000, 1_000_000), (6_000_000, 9_000_000), (len(LONG), 5)):
            file.seek(at)
            assert file.read(n) == LONG[at : at + n]


def test_nothing_is_there_before_a_file_is_whole(base: str) -> None:
    path = f"{base}/a.bin"
    with streams.open_output(path) as out:
        out.write(LONG)
        assert not streams.exists(path)
    streams.write_bytes(path, b"old")
    with pytest.raises(KeyError), streams.open_output(path) as out:
        out.write(LONG)
        raise KeyError
    assert streams.read_bytes(path) == b"old"


def test_an_empty_file(base: str) -> None:
    streams.write_bytes(f"{base}/a", b"")
    assert (streams.size(f"{base}/a"), streams.read_bytes(f"{base}/a")) == (0, b"")


def test_what_is_not_there(base: str) -> None:
    assert streams.size(f"{base}/no") is None
    assert streams.list_files(f"{base}/no") == []
    streams.remove(f"{base}/no")
    streams.remove_tree(f"{base}/no")
    with pytest.raises(FileNotFoundError):
        streams.read_bytes(f"{base}/no")


def test_files_are_listed_and_removed(base: str) -> None:
    names = ["x/.hidden", "x/a", "x/y/b", "xx/c", "z"]
    for name in names:
        streams.write_bytes(f"{base}/{name}", name.encode())
    assert streams.list_files(base) == [f"{base}/{name}" for name in names]
    assert streams.list_files(f"{base}/x") == [f"{base}/{name}" for name in names[:3]]
    streams.remove(f"{base}/x/y/b")
    streams.remove_tree(f"{base}/xx")
    assert streams.list_files(base) == [f"{base}/{name}" for name in ("x/.hidden", "x/a", "z")]


def test_a_version_changes_with_the_bytes(base: str) -> None:
    storage = remote_only(base)
    versions = []
    for data in (b"one", b"two"):
        streams.write_bytes(f"{base}/a", data)
        (entry,) = storage.entries(f"{base}/a")
        assert entry == storage.entry(f"{base}/a")
        versions.append(entry.version)
    assert versions[0] != versions[1]
    assert all(versions)


def test_a_file_that_is_replaced_while_it_is_read(base: str) -> None:
    remote_only(base)
    if base.startswith("gs://"):
        pytest.skip("gcp-storage-emulator does not look at generations")
    path = f"{base}/a.bin"
    streams.write_bytes(path, LONG)
    with streams.open_seekable(path) as file:
        file.read(10)
        streams.write_bytes(path, LONG[::-1])
        with pytest.raises(DataError, match=r"cannot be read: .*\n  nothing was finished from it; run the same"):
            file.read()


def test_a_bucket_that_is_not_there(base: str) -> None:
    remote_only(base)
    scheme = base.partition("://")[0]
    with pytest.raises(DataError, match=r"no-such-bucket/: cannot be listed: .*\n  see what `.*` shows"):
        streams.list_files(f"{scheme}://no-such-bucket")
    with pytest.raises(WriteError, match=r"no-such-bucket/a: cannot be written: .*\n  see what `.*` shows"):
        streams.write_bytes(f"{scheme}://no-such-bucket/a", b"x")


@pytest.mark.parametrize("name", ["x/../a", "../other/a", "./a"])
def test_names_that_lead_elsewhere_are_refused(base: str, name: str) -> None:
    remote_only(base)
    for use in (streams.read_bytes, streams.size, streams.remove, lambda path: streams.write_bytes(path, b"")):
        with pytest.raises(ConfigError, match=r"`\.` and `\.\.` have no meaning there"):
            use(f"{base}/{name}")


def test_a_parquet_footer_does_not_cost_the_file(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = remote_only(base)
    path = f"{base}/a.parquet"
    with streams.RawOutput(path) as out:
        pq.write_table(pa.table({"text": [os.urandom(1000).hex() for _ in range(10_000)]}), out, compression="none")
    asked = []
    ranges = type(storage)._range
    monkeypatch.setattr(
        type(storage), "_range", lambda self, path, *where: (asked.append(where[1]), ranges(self, path, *where))[1]
    )
    with open_parquet(path) as file:
        assert file.metadata.num_rows == 10_000
    assert sum(asked) < 200_000 < 20_000_000 < streams.size(path)


def test_a_stage_writes_what_it_writes_locally(base: str, tmp_path: Path) -> None:
    remote_only(base)
    made = []
    for home in (base, str(tmp_path)):
        for name in ("a.jsonl.gz", "deep/b.jsonl.zst", "c.parquet"):
            with DocumentWriter(f"{home}/web/documents/{name}") as writer:
                writer.write([b'{"id":"%d","text":"some text"}' % i for i in range(5)])
        dataset = Dataset(documents=(f"{home}/*/documents/**/*",))
        assert tag(dataset, TagConfig(taggers=["length"]), options=RunOptions(workers=1)).outputs == 3
        assert tag(dataset, TagConfig(taggers=["length"]), options=RunOptions(workers=1)).complete_before
        below = [path for path in streams.list_files(home) if "/attributes/" in path and "/.inputs" not in path]
        made.append({path.removeprefix(home): streams.read_bytes(path) for path in below})
    assert made[0] == made[1]
    assert len(made[0]) == 4


@pytest.mark.parametrize("scheme", ["http", "https", "hf"])
def test_outputs_where_files_can_only_be_read(scheme: str) -> None:
    pytest.importorskip("huggingface_hub") if scheme == "hf" else None
    with pytest.raises(ConfigError, match=r"cannot write there; it is for reading only\n  give a local folder, s3://"):
        streams.write_bytes(f"{scheme}://host.invalid/a/b", b"")


def test_doctor_tries_a_bucket_and_names_the_missing_permission(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = remote_only(base)
    assert [found.ok for found in try_place(base)] == [True] * 4
    assert streams.list_files(base) == []
    monkeypatch.setattr(type(storage), "_trouble", lambda *_: Trouble("denied", "no"))
    monkeypatch.setattr(type(storage), "_put", lambda *_: (_ for _ in ()).throw(OSError()))
    found = {one.what.partition(" ")[0]: one for one in try_place(base)}
    assert [name for name, one in found.items() if one.ok] == ["list"]
    assert found["write"].get.startswith(f"let this user have {storage.permissions['write']} there")
