"""Formats of token shards: those of trainers. A format is a file here and a line in `table.py`."""
