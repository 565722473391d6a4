"""Ends a program that you stop while modules are imported as it ends later: with one line and exit code 130.

Before ``run_program`` nothing catches a ``KeyboardInterrupt``. After it, some packages written in C turn one that comes
while they are imported into an ``ImportError``, and others forget it.
"""

import os
import signal
import sys
import threading
import types

SCRIPTS = ("run_inference.py", "train_model.py", "emotion-infer", "emotion-train", "emotion-demo")
INTERRUPTED = 130
AGAIN_SECONDS = 0.2  # after which an interrupt that an import forgot comes again
IMPORTER = "<frozen importlib._bootstrap>"


def watch_start() -> None:
    """Lets Ctrl-C end the process at once, if it is one of this package's programs and nothing else handles it.

    Nothing is half written yet.
    """
    if _is_program() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: types.FrameType | None) -> None:
    os.write(2, b"\nStopped.\n")
    os._exit(INTERRUPTED)


def _is_program() -> bool:
    words = sys.orig_argv
    if "-c" in words:  # a process that another one of Python's started
        return False
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    if name == "-m":  # Python looks for the module that it will run
        module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
        return module.partition(".")[0] == "emotion"
    return name.removesuffix(".exe") in SCRIPTS


class InterruptWatch:
    """Lets Ctrl-C raise ``KeyboardInterrupt`` within the block, also where an import forgets it.

    Use it in the main thread. Where something else handles Ctrl-C, nothing changes.

    Attributes:
        was_forgettable: whether Ctrl-C came while something was imported, so that any error may be its doing.
    """

    def __init__(self):
        self.was_forgettable = False
        self._before = None
        self._again: threading.Timer | None = None

    def __enter__(self) -> "InterruptWatch":
        before = signal.getsignal(signal.SIGINT)
        if before in (signal.default_int_handler, _end):
            self._before = before
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *error) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if self._again is not None:
            self._again.cancel()

    def _interrupt(self, number: int, frame: types.FrameType | None) -> None:
        if _is_importing(frame):
            self.was_forgettable = True
            self._again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGINT))
            self._again.daemon = True
            self._again.start()
        raise KeyboardInterrupt


def _is_importing(frame: types.FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTER:
            return True
        frame = frame.f_back
    return False
