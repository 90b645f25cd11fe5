"""What the package says to the logger `dolma`, told as the command tells everything."""

from __future__ import annotations

import logging

from dolma.api.log import LOGGER, LogReporter
from dolma.cli.printing import LOG, Level, tell

_LEVELS: dict[int, Level] = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning"}


def log_reporter() -> LogReporter:
    """A reporter to the logger, which tells phases where that is asked for."""
    LOGGER.setLevel(logging.DEBUG if LOG.verbose else logging.INFO)
    LOGGER.handlers = [_Handler()]
    LOGGER.propagate = False
    return LogReporter()


class _Handler(logging.Handler):
    """Tells what the logger is told."""

    def emit(self, record: logging.LogRecord) -> None:
        level = _LEVELS.get(record.levelno, "error")
        word = level if level in ("warning", "error") else ""
        tell(level, record.getMessage(), word=word, fields=getattr(record, "fields", None))
