"""What all commands share: one-line errors and exit codes, messages and progress bars, quiet libraries."""

import contextlib
import logging
import os
import shlex
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emotion.early_stop import INTERRUPTED, InterruptWatch
from emotion.errors import EmotionError
from emotion.files import file_error
from emotion.parallel import limit_blas
from emotion.version import __version__

logger = logging.getLogger(__name__)

SOME_FILES_FAILED = 3
HUNG_UP, TERMINATED = 129, 143
MISSING_PACKAGE = 2
OUR_PACKAGES = ("emotion", "benchmarks")
BAR = "{desc}: {percentage:3.0f}% |{bar}| {n:.0f} of {total:.0f} {unit}, {remaining} left"
BAR_WITHOUT_TOTAL = "{desc}: {n:.0f} {unit}, {elapsed} so far"


def run_program(main: Callable[[], int]) -> int:
    """Runs a program's main function; an error becomes one line on the error stream and an exit code.

    Returns:
        What ``main`` returns; an ``EmotionError``'s own code; 1 for other file errors; 2 if a package is missing; 130
        after Ctrl-C. SIGTERM ends the program with 143.
    """
    is_main_thread = threading.current_thread() is threading.main_thread()
    with InterruptWatch() if is_main_thread else contextlib.nullcontext() as interrupts:
        try:
            _prepare(is_main_thread=is_main_thread)
            return main()
        except KeyboardInterrupt:
            return _say_stopped()
        except Exception as error:
            if interrupts is not None and interrupts.was_forgettable:
                return _say_stopped()
            return _tell(error)


def _prepare(*, is_main_thread: bool) -> None:
    # To be set before ``main`` imports TensorFlow.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    limit_blas()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for child processes
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of retraced functions
    warnings.simplefilter("ignore", category=FutureWarning)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # file names need not be Unicode
    if is_main_thread:
        # As after Ctrl-C, ``finally`` blocks run and remove half-written files.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(TERMINATED))
        # The terminal was closed; nohup ignores this.
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            signal.signal(signal.SIGHUP, lambda number, frame: sys.exit(HUNG_UP))


def _say_stopped() -> int:
    print("\nStopped.", file=sys.stderr)  # a progress bar may stand on the line
    return INTERRUPTED


def _tell(error: Exception) -> int:
    """Says in one line what you can mend, and returns the exit code; raises anything else."""
    if isinstance(error, EmotionError):
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] not in OUR_PACKAGES:
        print(f"error: this needs the package {error.name}: pip install -r requirements.txt", file=sys.stderr)
        return MISSING_PACKAGE
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone, as after `| head`; Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, OSError):
        # Folders that cannot be made, full disks and the like: you can mend these, a traceback would not help.
        logger.debug("a file error", exc_info=error)
        print(f"error: {file_error(error)}", file=sys.stderr)
        return 1
    raise error


@contextlib.contextmanager
def quiet_import():
    """Hides what TensorFlow's C++ code writes to the error stream while you import it, unless the import fails.

    Its first messages come before its log level takes effect.
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


# ---- How the program was called ----


def called_as(script: str, command: str) -> str:
    """Returns the name you started a program by: its script, or the command that pip installs."""
    return command if os.path.basename(sys.argv[0]).split(".")[0] == command else script


def add_version(parser) -> None:
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")


def add_progress_option(group) -> None:
    """Adds ``--no_progress`` to a parser or group, for ``reporter_for``."""
    group.add_argument("--no_progress", action="store_true", help="show no progress bars")


def program_name() -> str:
    """Returns how to call the running Python from the current folder, as briefly as possible."""
    path = Path(sys.executable)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def command_line() -> str:
    """Returns the command you typed, to keep beside its results."""
    program = Path(sys.argv[0])
    # For ``python -m emotion.X`` the first argument is the module's file.
    called = ["-m", f"emotion.{program.stem}"] if program.parent.name == "emotion" else [sys.argv[0]]
    return shlex.join([program_name(), *called, *sys.argv[1:]])


def command_to_go_on(output: Path) -> str:
    """Returns the command you typed with the folder it writes, so that it goes on there after a stop."""
    named = any(word.startswith("--output") for word in sys.argv)
    return command_line() + ("" if named else f" --output {shlex.quote(str(output))}")


# ---- Messages and progress ----


def counted(n: int, noun: str) -> str:
    """Returns a number with its noun, such as ``1 clip`` and ``2 clips``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


Progress = Callable[[float, float | None], None]  # called with the amount done and the total, None if unknown


@dataclass(frozen=True)
class Reporter:
    """What a program tells you while it works: messages, warnings and progress bars.

    Functions that run for long take a ``reporter``. The default, ``SILENT``, only logs.

    Attributes:
        shows_text: whether to print messages. Warnings are always printed.
        shows_bars: whether to draw progress bars.
        aside: whether messages go to the error stream, because the output stream carries a table.
    """

    shows_text: bool = True
    shows_bars: bool = True
    aside: bool = False

    def say(self, text: str) -> None:
        """Prints a message and flushes it, so that it passes through a pipe at once."""
        if self.shows_text:
            print(text, file=sys.stderr if self.aside else sys.stdout, flush=True)

    def warn(self, text: str) -> None:
        """Prints a warning on the error stream, above the bar if there is one."""
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)

    def bar(self, what: str, unit: str) -> "ProgressBar":
        """Returns a bar. Call it with the amount done and the total."""
        return ProgressBar(what, unit, shown=self.shows_bars)

    @property
    def keras_verbose(self) -> int:
        """Keras's ``verbose``: 1 draws a bar, 2 prints a line an epoch, 0 is silent."""
        return 1 if self.shows_bars else 2 if self.shows_text else 0


def reporter_for(args) -> Reporter:
    """Returns the reporter of a command with ``add_progress_option``."""
    return Reporter(shows_bars=not args.no_progress)


class _Silent(Reporter):
    def say(self, text: str) -> None:
        logger.info(text)

    def warn(self, text: str) -> None:
        logger.warning(text)


SILENT = _Silent(shows_text=False, shows_bars=False)


class ProgressBar:
    """A bar on the error stream with the time left. Call it with the amount done and the total, None if unknown."""

    def __init__(self, what: str, unit: str, *, shown: bool = True):
        self._what, self._unit, self._shown = what, unit, shown
        self._bar = None

    def __call__(self, done: float, total: float | None) -> None:
        if not self._shown or total == 0:  # a still picture
            return
        # A file may hold more than its header promises; tqdm shows nothing beyond the total.
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
            self._bar = None  # ready for another pass
