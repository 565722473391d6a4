"""What the command-line programs share: quiet libraries, one-line errors, exit codes, progress."""

import argparse
import contextlib
import errno
import logging
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from emotion.errors import EmotionError
from emotion.parallel import limit_blas
from emotion.version import __version__

logger = logging.getLogger(__name__)

SOME_FILES_FAILED = 3
INTERRUPTED, TERMINATED = 130, 143
MISSING_PACKAGE = 2
OUR_PACKAGES = ("emotion", "benchmarks")
BAR = "{desc}: {percentage:3.0f}% |{bar}| {n:.0f} of {total:.0f} {unit}, {remaining} left"
BAR_WITHOUT_TOTAL = "{desc}: {n:.0f} {unit}, {elapsed} so far"


def run_program(main: Callable[[], int]) -> int:
    """Runs a program's main function and turns its errors into one line and an exit code.

    Returns:
        What ``main`` returns; the error's own code for an ``EmotionError``; 130 after Ctrl-C.
    """
    # These must be set before TensorFlow is imported, which happens within main.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    limit_blas()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for processes that this one starts
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it explains how it traces functions
    warnings.simplefilter("ignore", category=FutureWarning)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be Unicode
    if threading.current_thread() is threading.main_thread():
        # Ends the program as Ctrl-C does, so that nothing half done is left behind.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(TERMINATED))
    try:
        return main()
    except EmotionError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        if not error.name or error.name.split(".")[0] in OUR_PACKAGES:
            raise
        print(f"error: this needs the package {error.name}: pip install -r requirements.txt", file=sys.stderr)
        return MISSING_PACKAGE
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)  # a progress bar may stand on the line
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as after `| head`; keep Python from complaining about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # What is left are folders that cannot be made, full disks and the like: the user's to mend, not ours to trace.
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        where = f"{error.filename}: " if error.filename else ""
        way_out = "Choose another place, or make room there"
        if error.errno == errno.ENAMETOOLONG:
            way_out = "Choose a shorter name, with --output for what is written"
        print(f"error: {where}{error.strerror}. {way_out}.", file=sys.stderr)
        return 1


@contextlib.contextmanager
def quiet_import():
    """Holds back what TensorFlow's C++ side writes to the error stream while it is imported.

    Its first messages come before its own log level takes effect. They are shown after all if the import fails.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except ImportError:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def called_as(script: str, command: str) -> str:
    """Returns the name by which a program was started: its script's, or that of the command that pip installs."""
    return command if os.path.basename(sys.argv[0]).split(".")[0] == command else script


def add_version(parser: argparse.ArgumentParser) -> None:
    """Gives a program the option to tell its version."""
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")


@dataclass(frozen=True)
class Reporter:
    """What a program tells its user while it works: messages, warnings and progress bars.

    Functions that take long take a ``reporter``. By default they get ``SILENT``, which only logs.

    Attributes:
        shows_text: whether messages are printed. Warnings always are.
        shows_bars: whether progress bars are drawn.
        aside: whether messages go to the error stream, because the output stream carries a table.
    """

    shows_text: bool = True
    shows_bars: bool = True
    aside: bool = False

    def say(self, text: str) -> None:
        """Prints a message at once, also into a pipe."""
        if self.shows_text:
            print(text, file=sys.stderr if self.aside else sys.stdout, flush=True)

    def warn(self, text: str) -> None:
        """Prints a warning on the error stream, above a bar if one is drawn."""
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)

    def bar(self, what: str, unit: str) -> "ProgressBar":
        """Returns a bar; call it with what is done and the total."""
        return ProgressBar(what, unit, shown=self.shows_bars)

    @property
    def keras_verbose(self) -> int:
        """Keras's ``verbose``: 1 draws a bar, 2 prints a line an epoch, 0 is silent."""
        return 1 if self.shows_bars else 2 if self.shows_text else 0


class _Silent(Reporter):
    def say(self, text: str) -> None:
        logger.info(text)

    def warn(self, text: str) -> None:
        logger.warning(text)


SILENT = _Silent(shows_text=False, shows_bars=False)


class ProgressBar:
    """A bar with the time left, on the error stream; silent if turned off.

    It can be called with what is done and the total, in any unit; the total may be None where it is not known.
    """

    def __init__(self, what: str, unit: str, *, shown: bool = True):
        self._what, self._unit, self._shown = what, unit, shown
        self._bar = None

    def __call__(self, done: float, total: float | None) -> None:
        if not self._shown or total == 0:  # a still picture
            return
        # A header may promise less than the file holds, and what is over would not be shown.
        total = max(total, done) if total else None
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                initial=done,
                desc=self._what,
                unit=self._unit,
                mininterval=0.5,
                leave=False,
                bar_format=BAR if total else BAR_WITHOUT_TOTAL,
            )
        self._bar.total = total
        self._bar.bar_format = BAR if total else BAR_WITHOUT_TOTAL
        self._bar.update(done - self._bar.n)
        if total is not None and done >= total:
            self._bar.close()
            self._bar = None  # it may be used for another pass
