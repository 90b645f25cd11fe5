"""Take documents down: out of every file that a run has written, and out of every later run.

asked      ids, domains, a rule, clusters             -> what is wanted
places     recipe or folders                          -> document files, file sets, quarantines, files of ids
find       wanted + places                            -> the ids of all documents that go, copies included
rewrite    a file that holds some of them             -> the same file without them, staged in `.takedown/` beside it
follow     a file set + what has changed              -> its manifest and the files that sum it up, staged
commit     all that is staged                         -> a journal; renames; nothing left of either
receipt    all of that                                -> what was asked, found, removed, and cannot be reached

Until the journal is whole nothing is touched, and from then on every run of the command, on these folders, finishes it
first. So a kill at any moment leaves the old state, or one that the next run makes the new one.
"""
