"""What all tests need."""

from __future__ import annotations

import signal

# A shell ignores Ctrl-C for what it runs in the background, and programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
