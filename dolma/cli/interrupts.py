"""Ctrl-C and SIGTERM as a wish to stop, for work that can end well when it is asked to."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from dolma.cli.printing import tell


class StopOnSignal:
    """While entered, the first SIGINT or SIGTERM only sets `wanted`; a second one interrupts as ever.

    Signals reach the main thread only; elsewhere nothing is changed.
    """

    def __init__(self, *, note: str) -> None:
        self.wanted = False
        self._note = note
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True
        tell("info", self._note)

    def __call__(self) -> bool:
        return self.wanted

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
