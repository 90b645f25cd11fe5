"""Everything that is to take the place of what is there: files first, then what sums them up."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.manifest import InputFile, OutputFile, manifest_path, name_of, write_manifest
from dolma.data.streams import Written
from dolma.data.tokens import NAME as TOKENS
from dolma.data.tokens import read_rows, read_token_manifest, write_token_manifest
from dolma.mixers.mixture import MIXTURE
from dolma.mixers.notes import MixNotes
from dolma.mixers.waterfall import WATERFALL, WriteWaterfall
from dolma.removal import follow
from dolma.removal.clusters import Row
from dolma.removal.commit import Staging
from dolma.removal.find import attribute_files, reading_of
from dolma.removal.places import FileSetThere
from dolma.removal.receipt import Place, Unreached
from dolma.removal.rewrite import (
    HITS,
    ITEMS,
    reasons_of,
    without_attributes,
    without_ids,
    without_lines,
    without_rows,
    without_text_lines,
    without_values,
    write_json,
)
from dolma.removal.scan import Scan
from dolma.removal.shards import How, files_of, without_documents
from dolma.runner.ledger import Ledger
from dolma.stages import PACKAGES, find_stage
from dolma.tokens.formats.dolma import FORMAT

_INDEX, _FILTER = "_index/", "_filter.bloom"


class Stager:
    """Stages what a scan has found. `written` has the checksums of each file, before and after."""

    def __init__(self, scan: Scan, staging: Staging, identity: str, *, how: How) -> None:
        self.scan, self.staging, self.how = scan, staging, how
        self.config = {"takedown": identity}
        self.written: dict[str, tuple[str, str]] = {}
        self.summaries: list[Place] = []
        self.unreached: list[Unreached] = []
        self._inputs: dict[str, follow.InputNow] = {}
        self._outputs: dict[str, dict[str, OutputFile | None]] = {}  # of each folder, by path in it
        self._notes: dict[str, dict[str, Any]] = {}  # by folder
        self._removed: dict[str, int] = {}
        self._decided: dict[str, dict[str, list[dict[str, Any]]]] = {}  # by folder and path in it
        self._changed_rows: dict[str, dict[int, Row]] = {}
        for of in scan.clusters.values():
            self._changed_rows |= of.changed

    def stage_all(self) -> None:
        """Stage all of it, and list what cannot be reached."""
        at = self.scan.at
        self._documents()
        for path, lines in self.scan.lines.items():
            self._text_file(path, lines)
        for one in at.of("attributes"):
            self._attributes(one)
        for one in at.of("documents"):
            self._mix(one)
        for one in at.of("tokens"):
            self._tokens(one)
        for one in at.of("statistics"):
            self._statistics(one)
        for one in at.sets:
            if one.manifest.stage in PACKAGES and "documents" in find_stage(one.manifest.stage).reads:
                self._manifest(one, self.config | self._of_held_ids(one.manifest.config))
            elif one.writes == "tokens":  # of other shards
                self._manifest(one, {})
            elif one.writes != "checkpoints" and any(file.checksum in self._inputs for file in one.manifest.inputs):
                why = f"was made of some of these documents by `{one.manifest.stage}`: make it again"
                self.unreached.append(Unreached(path=one.folder, why=why))

    # --- files --------------------------------------------------------------------------------------------------------

    def _output(self, one: FileSetThere, out: OutputFile, written: Written, rows: int) -> None:
        """An output as it is now."""
        now = msgspec.structs.replace(out, bytes=written.bytes, checksum=written.checksum, rows=rows)
        self._outputs.setdefault(one.folder, {})[out.path] = now
        self.written[one.path(out)] = out.checksum, written.checksum
        self._inputs.setdefault(out.checksum, follow.InputNow(size=written.bytes, checksum=written.checksum))

    def _documents(self) -> None:
        reading, listed = reading_of(self.scan.at), self.scan.listed
        sets = {one.folder: one for one in self.scan.at.sets}
        for file in self.scan.at.documents:
            path = file.shard.path
            facts = self.scan.facts.get(path)
            if facts is None:
                continue
            was = self.scan.inputs[path]
            size, checksum = was.size, was.checksum
            if file.writable:
                written = without_lines(file.shard, [fact.line for fact in facts], self.staging.place(path), reading)
                size, checksum = written.bytes, written.checksum
                self.written[path] = was.checksum, checksum
            self._inputs[was.checksum] = follow.InputNow(
                size=size,
                checksum=checksum,
                path=path,
                facts=facts,
                reached=file.writable,
                listed=frozenset(fact.id for fact in facts if listed.hash_of_id(fact.id) in listed.ids),
            )
            if file.out is not None:
                gone = sum(1 for fact in facts if not fact.failed)
                self._output(sets[file.home], file.out, written, file.out.rows - gone)

    def _text_file(self, path: str, lines: list[int]) -> None:
        before = streams.checksum(path)
        write = without_ids if os.path.basename(path) == ITEMS else without_text_lines
        written = write(path, lines, self.staging.place(path))
        self.written[path] = before, written.checksum
        reasons = reasons_of(path)
        if streams.exists(reasons):  # of bad records, line by line
            without_text_lines(reasons, lines, self.staging.place(reasons))
        for one in self.scan.at.of("documents", "attributes"):
            for out in one.manifest.outputs:
                if one.path(out) == path:
                    self._output(one, out, written, out.rows)

    def _attributes(self, one: FileSetThere) -> None:
        touched, n_gone = False, 0
        by_path = {one.path(out): out for out in one.manifest.outputs}
        for path in attribute_files(one):
            if path in self.scan.rows:
                rows = self._changed_rows.get(path, {})
                written, n_rows = without_attributes(one, path, self.staging.place(path), self.scan.ids, rows)
                self._output(one, by_path[path], written, n_rows)
                touched, n_gone = True, n_gone + self.scan.rows[path]
        self._removed[one.folder] = n_gone
        for path, out in by_path.items() if touched else ():
            if out.path.startswith(_INDEX):
                self.staging.remove(path)
                self._outputs.setdefault(one.folder, {})[out.path] = None
                self.written[path] = out.checksum, ""
            elif out.path == _FILTER:
                self.unreached.append(
                    Unreached(path=path, why="a Bloom filter forgets nothing: it holds hashes of its items")
                )
        if streams.join(one.folder, HITS) in self.scan.lines:
            why = "its counts of benchmarks are those of before: run its stage with `--overwrite` to count again"
            self.unreached.append(Unreached(path=one.folder, why=why))
        if touched and any(out.path.startswith(_INDEX) for out in one.manifest.outputs):
            why = "removed as a whole, as an index cannot lose a document: `--index` makes it again"
            self.unreached.append(Unreached(path=streams.join(one.folder, _INDEX.rstrip("/")), why=why))

    def _mix(self, one: FileSetThere) -> None:
        removed: dict[str, list[dict[str, Any]]] = {}
        for out in one.manifest.outputs:
            path, first = one.path(out), out.path.partition("/")[0]
            if first in ("rows", "decisions") and path in self.scan.rows:
                written, gone = without_rows(path, self.staging.place(path), self.scan.ids)
                self._output(one, out, written, out.rows - len(gone))
                if first == "decisions":
                    removed[out.path] = gone
        if not removed:
            return
        every = [row for rows in removed.values() for row in rows]
        notes = follow.mix_notes(msgspec.convert(one.manifest.notes, MixNotes), every, self.scan.ids)
        self._notes[one.folder] = msgspec.to_builtins(notes)
        self._decided[one.folder], self._removed[one.folder] = removed, len(every)
        for file in one.manifest.inputs:
            if file.is_document and removed.get(follow.decisions_path(file)) and file.checksum not in self._inputs:
                self._inputs[file.checksum] = follow.InputNow(size=file.size, checksum=file.checksum, reached=False)
                self.unreached.append(Unreached(path=file.name, why="documents of a mix, which were not named"))
        outputs = {out.path: out for out in one.manifest.outputs}
        if (rules := outputs.get(WATERFALL)) is not None:
            staged = os.path.dirname(self.staging.place(one.path(rules)))
            made = WriteWaterfall(output=staged)(tuple(notes.waterfall)).outputs[0]
            self._summary(one, rules, Written(path=one.path(rules), bytes=made.bytes, checksum=made.checksum))
        if (mixture := outputs.get(MIXTURE)) is not None and notes.mixture is not None:
            self._summary(one, mixture, write_json(self.staging.place(one.path(mixture)), notes.mixture))
            if notes.mixture.strata:
                why = "its `strata` are those of before: run its stage with `--overwrite` to count again"
                self.unreached.append(Unreached(path=one.path(mixture), why=why))

    def _summary(self, one: FileSetThere, out: OutputFile, written: Written) -> None:
        self._output(one, out, written, out.rows)
        self.summaries.append(
            Place(path=one.path(out), kind="summaries", removed=0, before=out.checksum, after=written.checksum)
        )

    def _tokens(self, one: FileSetThere) -> None:
        manifest = read_token_manifest(one.folder)
        outputs = {out.path: out for out in one.manifest.outputs}
        shards, padded, n_gone = [], {"documents": 0, "tokens": 0}, 0
        for info in manifest.shards:
            gone = self.scan.shards.get(streams.join(one.folder, info.path))
            if gone is None:
                shards.append(info)
                continue
            made = without_documents(one.folder, info, manifest, gone, self.staging, how=self.how)
            n_gone += len(gone.rows)
            if made.info is None:
                for name in filter(outputs.get, files_of(info.path)):
                    self._outputs.setdefault(one.folder, {})[name] = None
                    self.written[streams.join(one.folder, name)] = outputs[name].checksum, ""
                continue
            shards.append(made.info)
            if self.how == "pad":
                padded["documents"] += len(gone.rows)
                padded["tokens"] += sum(gone.tokens.values())
            for path, written in made.files.items():
                name = path.removeprefix(streams.join(one.folder, ""))
                if name in outputs:
                    self._output(one, outputs[name], written, made.info.rows if outputs[name].rows else 0)
        self._removed[one.folder] = n_gone
        if not n_gone:
            return
        described = outputs[TOKENS]
        staged = self.staging.place(one.path(described))
        manifest = msgspec.structs.replace(manifest, shards=shards)
        write_token_manifest(os.path.dirname(staged), manifest)
        beside = FORMAT.describe(os.path.dirname(staged), manifest)
        for out in (described, *(outputs[name] for name in beside if name in outputs)):
            staged = self.staging.place(one.path(out))
            written = Written(path=staged, bytes=streams.size(staged) or 0, checksum=streams.checksum(staged))
            self._summary(one, out, written)
        before = one.manifest.notes.get(follow.NOTE, {}).get("padding", {})
        padding = {key: n + before.get(key, 0) for key, n in padded.items()}
        self._notes[one.folder] = {follow.NOTE: {"padding": padding}} if any(padding.values()) else {}

    def _statistics(self, one: FileSetThere) -> None:
        for out in one.manifest.outputs:
            path = one.path(out)
            if path in self.scan.rows:
                value = without_values(decode_json(streams.read_bytes(path), Any), self.scan.ids)
                self._output(one, out, write_json(self.staging.place(path), value), out.rows)
        why = "its numbers are those of before, without ids: run its stage with `--overwrite` to count again"
        self.unreached.append(Unreached(path=one.folder, why=why))

    # --- manifests ----------------------------------------------------------------------------------------------------

    def _manifest(self, one: FileSetThere, config: dict[str, Any]) -> None:
        manifest = one.manifest
        if not config:
            manifest = msgspec.structs.replace(manifest, ledger=self._of_shards(one))
        notes = self._notes.get(one.folder, {})
        if (clusters := self.scan.clusters.get(manifest.fingerprint)) is not None and clusters.removed:
            notes = self._dedupe_notes(one)
        made = follow.followed(
            manifest,
            inputs=self._inputs,
            outputs=self._outputs.get(one.folder, {}),
            ledger=self._ledger(one),
            config=config,
            notes=notes,
            removed=self._removed.get(one.folder, 0),
            folder=one.folder,
        )
        if not config:
            accounts = msgspec.convert(made.ledger, Ledger).accounts
            by_source = {"tokens": {source: account.written.tokens for source, account in accounts.items()}}
            made = msgspec.structs.replace(made, notes=made.notes | by_source)
        path = streams.join(one.folder, name_of(manifest.stage))
        before = manifest_path(one.folder)
        if before is not None and before != path:  # of an earlier version
            self.staging.remove(before)
        staged = self.staging.place(path)
        write_manifest(os.path.dirname(staged), made)

    def _ledger(self, one: FileSetThere) -> Callable[[Ledger, InputFile], None]:
        """What takes the documents of an input out of the account of a set."""
        honours, writes = "takedown" in one.manifest.config, one.writes
        gone = [of for path, of in self.scan.shards.items() if path.startswith(streams.join(one.folder, ""))]

        def change(ledger: Ledger, file: InputFile) -> None:
            now = self._inputs[file.checksum]
            if not file.is_document:
                return
            if not honours:
                now = msgspec.structs.replace(now, listed=frozenset())
            if writes == "documents":
                removed = self._decided.get(one.folder, {}).get(follow.decisions_path(file), ())
                follow.mixed(ledger, removed, now)
            elif one.manifest.stage not in PACKAGES:
                return  # see `_of_shards`
            elif writes == "tokens":
                tokens = Counter[int]()
                for of in gone:
                    tokens.update({line: n for (name, line), n in of.tokens.items() if name == file.name})
                follow.tokenized(ledger, now, tokens)
            else:
                follow.pass_on(ledger, now)

        return change

    def _of_shards(self, one: FileSetThere) -> dict[str, Any]:
        """The account of a set that was made of token shards, without the documents that it has written."""
        ledger, seen = msgspec.convert(one.manifest.ledger, Ledger), set[tuple[str, int, str]]()
        for path, gone in self.scan.shards.items():
            if path.startswith(streams.join(one.folder, "")):
                for row in read_rows(path).take(gone.rows).to_pylist():
                    document = row["path"], row["line"], row["id"]
                    follow.of_shard(ledger, row, is_first=document not in seen)
                    if row["part"] + 1 == row["parts"]:
                        seen.add(document)
        plain: dict[str, Any] = msgspec.to_builtins(ledger)
        return plain

    def _dedupe_notes(self, one: FileSetThere) -> dict[str, Any]:
        of = self.scan.clusters[one.manifest.fingerprint]
        inputs = {file.checksum for file in one.manifest.inputs}
        facts = {
            fact.id: fact
            for path, found in self.scan.facts.items()
            if self.scan.inputs[path].checksum in inputs
            for fact in found
        }
        changed = [row for rows in of.changed.values() for row in rows.values()]
        return follow.dedupe_notes(one.manifest.notes, facts | self.scan.other, of.removed, changed)

    def _of_held_ids(self, config: dict[str, Any]) -> dict[str, Any]:
        """The settings of a mix that name what a file of held-out ids holds."""
        held = config.get("holdout") or {}
        now = dict(self.written.values())
        return {"holdout": held | {"ids": now[held["ids"]]}} if held.get("ids") in now else {}
