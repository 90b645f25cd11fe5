"""Sets that keep an index, and sets that go on from one: which documents are new, and where the set is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dolma.data import streams
from dolma.data.dataset import Dataset, Place, Shard
from dolma.data.exchange import RunFile
from dolma.data.manifest import FileSet, InputFile, OutputFile, read_manifest
from dolma.data.places import known_of, name_below, names_of, note_of, root_of
from dolma.data.storage.local import finish_swap, swap_folders
from dolma.dedupers.config import DedupeConfig
from dolma.dedupers.index import FOLDER, FORMAT_VERSION, Held, HeldFile, Index, KeepFile, WriteIndex, open_index
from dolma.dedupers.method import Found, Job
from dolma.dedupers.notes import DedupeNotes, GrowthNotes
from dolma.errors import ConfigError
from dolma.printable import printable
from dolma.runner.ledger import Ledger
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport
from dolma.runner.stage import StageRun, open_stage
from dolma.runner.task import Task, TaskResult

Copies = dict[str, Any]
"""What `Copies.payload` says of a file."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What a run has to do with indexes: `held` is the one that it goes on from; `keeps`, whether it leaves one.

    `settings` are those that an index has to agree on. `folder` is that of the set; where it `replaces` the one that
    has the index, it is made in the folder `next`.
    """

    held: Held | None = None
    keeps: bool = False
    settings: dict[str, Any]
    folder: str = ""
    replaces: bool = False

    @classmethod
    def of(cls, config: DedupeConfig, settings: dict[str, Any], places: Sequence[Place], options: RunOptions) -> Growth:
        """What these settings ask for.

        Raises:
            ConfigError: the set or the index cannot be made like this.
            DataError: the index cannot be read.
        """
        if not (config.index or config.since):
            return cls(settings=settings)
        folders = sorted({place.folder for place in places})
        if len(folders) > 1:
            raise ConfigError(
                f"these documents have their attributes in {len(folders)} folders, such as {printable(folders[0])}; "
                "an index is of one\n  add `--attributes DIR`",
                path=f"$.dedupe.{'since' if config.since else 'index'}",
            )
        folder = folders[0]
        if not config.since:
            return cls(settings=settings, keeps=True, folder=folder)
        if not streams.is_url(folder):
            finish_swap(folder, _next(folder))
        held = open_index(config.since)
        held.check(settings)
        replaces = streams.real_path(held.folder) == streams.real_path(folder)
        if replaces and (options.shard is not None or streams.is_url(folder)):
            what = "by one run, without `--shard`" if options.shard is not None else "where folders can be renamed"
            raise ConfigError(
                f"{printable(folder)} would be replaced, which is done {what}\n"
                "  give the new set another folder: `--attributes DIR`",
                path="$.dedupe.since",
            )
        return cls(settings=settings, held=held, keeps=True, folder=folder, replaces=replaces)

    def placed(
        self, dataset: Dataset, shards: Sequence[Shard], places: Sequence[Place]
    ) -> tuple[list[Shard], list[Place]]:
        """The shards, called as the index calls them, and where their rows are written."""
        if self.held is None:
            return list(shards), list(places)
        if places[0].root:
            root = root_of(known_of(self.held.folder), shards, dataset.base)
            note = note_of(self.folder, root)
            places = [
                replace(place, name=name_below(names_of(shard.path), root), root=note)
                for shard, place in zip(shards, places, strict=True)
            ]
        folder = _next(self.folder) if self.replaces else self.folder
        places = [replace(place, folder=folder) for place in places]
        return [replace(shard, name=place.name) for shard, place in zip(shards, places, strict=True)], places

    def is_new(self, shard: Shard) -> bool:
        """Whether no index holds this file.

        Raises:
            ConfigError: as `Held.is_held`.
        """
        return self.held is None or not self.held.is_held(shard.input, shard.path)

    @property
    def inputs(self) -> list[InputFile]:
        """The files that are held."""
        return [file.input for file in self.held.index.files] if self.held is not None else []

    @property
    def config(self) -> dict[str, Any]:
        """What of it decides what is in the set."""
        return {"index": True, "since": self.held.digest if self.held is not None else ""} if self.keeps else {}

    # --- old files ----------------------------------------------------------------------------------------------------

    def old(self) -> list[tuple[int, HeldFile, OutputFile]]:
        """The documents that are held, without references: their numbers among all files, and their attribute files."""
        if self.held is None:
            return []
        files = enumerate(self.held.index.files)
        return [(i, file, self.held.outputs[file.attributes]) for i, file in files if file.attributes]

    def notes(self, rewritten: Sequence[TaskResult]) -> GrowthNotes | None:
        """What is said of the old documents; the results are those of writing their files again."""
        if self.held is None:
            return None
        again = [out.path for result in rewritten if result.payload["again"] for out in result.outputs]
        return GrowthNotes(
            documents=self.held.index.ledger.total().out.documents,
            rewritten=again,
            unchanged=len(self.old()) - len(again),
        )

    # --- the index ----------------------------------------------------------------------------------------------------

    def keep(
        self,
        stage: StageRun,
        job: Job,
        found: Found,
        ledgers: tuple[Ledger, Ledger],
        copies: Sequence[Copies],
        paths: Sequence[str],
    ) -> list[TaskResult]:
        """Write the index of the set. `ledgers` are those of all documents and of all references.

        `copies` count what is written of each file, of old ones and then of new ones; `paths` are the attribute files
        of the new ones.
        """
        if not self.keeps:
            return []
        folder = stage.sets[0].folder
        rows: list[RunFile] = list(found.rows) if found.rewrites else []
        taken = [*self._carried({out.path.partition("/")[0] for out in found.added}), *found.added]
        tasks = [Task(key=out.path, size=out.bytes, spec=out) for out in taken]
        kept = stage.run("keep", tasks, KeepFile(folder=folder))
        index = Index(
            format_version=FORMAT_VERSION,
            settings=self.settings,
            files=self._files(job, found, copies, paths, rows),
            records={name: list(files) for name, files in found.kept.items()},
            ledger=ledgers[0],
            references=ledgers[1],
            without_key=found.without_key + (self.held.index.without_key if self.held is not None else 0),
        )
        return [*kept, *stage.run("index", [Task(key="index", size=0, spec=index)], WriteIndex(folder=folder))]

    def _carried(self, tables: Collection[str]) -> list[OutputFile]:
        """The files of these tables in the old index."""
        outputs = self.held.outputs if self.held is not None else {}
        return [out for path, out in outputs.items() if path.startswith(tuple(f"{FOLDER}/{name}/" for name in tables))]

    def _files(
        self, job: Job, found: Found, copies: Sequence[Copies], paths: Sequence[str], rows: Sequence[RunFile]
    ) -> list[HeldFile]:
        counts = iter(copies)
        old = self.held.index.files if self.held is not None else []
        files = [
            HeldFile(
                input=file.input,
                attributes=file.attributes,
                documents=file.documents,
                rows=file.rows,
                copies=next(counts) if file.attributes else {},
            )
            for file in old
        ]
        results = (*found.references, *found.counted)
        documents = [n for result in results for n in result.payload["documents"]]
        attributes = iter(paths)
        for i, piece in enumerate(job.parts):
            reference = i < job.n_references
            of_piece = [rows[i - job.n_references]] if rows and not reference else []
            if piece.part:
                files[-1].documents.append(documents[i])
                files[-1].rows.extend(of_piece)
                continue
            files.append(
                HeldFile(
                    input=piece.shard.input,
                    attributes="" if reference else next(attributes),
                    documents=[documents[i]],
                    rows=of_piece,
                    copies={} if reference else next(counts),
                )
            )
        return files

    # --- the place of the old set -------------------------------------------------------------------------------------

    def clear(self, sets: Sequence[FileSet]) -> None:
        """Remove what an earlier run has replaced and not removed, as it was killed."""
        there = read_manifest(sets[0].folder) if self.replaces else None
        if there is not None and there.fingerprint != sets[0].fingerprint:
            streams.remove_tree(sets[0].folder)

    def unchanged(self, options: RunOptions, called: Mapping[str, Any]) -> StageReport[DedupeNotes]:
        """What the set says that has the index: nothing is new."""
        assert self.held is not None
        made = self.held.manifest
        same = FileSet(folder=self.folder, stage=made.stage, name=made.name, config=made.config, inputs=made.inputs)
        with open_stage([same], options=options) as stage:
            stage.leave_if_complete()
        streams.remove_tree(_next(self.folder))
        return stage.noted(DedupeNotes, **called)

    def put_in_place(self, report: StageReport[DedupeNotes]) -> StageReport[DedupeNotes]:
        """Have the finished set stand where the old one was.

        Raises:
            ConfigError: others have changed the old one meanwhile.
        """
        if not self.replaces:
            return report
        assert self.held is not None
        there = read_manifest(self.folder)
        if there is None or there.checksum != self.held.manifest.checksum:
            raise ConfigError(
                f"{printable(self.folder)} is another set than when this run began\n  run the same command again",
                path="$.dedupe.since",
            )
        new = _next(self.folder)
        swap_folders(self.folder, new)
        streams.remove_tree(new)
        manifests = [path.replace(new, self.folder, 1) for path in report.manifests]
        return replace(report, manifests=manifests, complete_before=False)


def _next(folder: str) -> str:
    """Where the set is made that is to replace the one in this folder."""
    parent, _, name = folder.rstrip("/").rpartition("/")
    return streams.join(parent, f".{name}.next") if parent else f".{name}.next"
