"""The folder at an address that a batch's results go to: what it holds, and the batch's record, which is kept here."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from emotion.errors import ConfigError, EmotionError, FileError
from emotion.files import locked_names
from emotion.inference.addresses import Address

PAUSES_SECONDS = (2.0, 10.0, 30.0)  # before the record is put again


class ResultStore:
    """A folder at an address.

    Attributes:
        names: of the files in it, as far as this program knows.

    Raises:
        EmotionError: if it cannot be reached.
    """

    def __init__(self, address: Address):
        self.address = address
        self.names = address.names()

    def __str__(self) -> str:
        return str(self.address)

    def fetch(self, path: Path) -> None:
        """Fetches the file of a name in this folder, if there is one."""
        if path.name in self.names:
            self.address.below(path.name).fetch(path)

    def remove(self, name: str) -> None:
        self.address.below(name).remove()
        self.names.discard(name)

    def holds(self, name: str) -> bool:
        """Asks whether a file is there; if nobody answers, it may be."""
        try:
            return self.address.below(name).exists()
        except EmotionError:
            return True

    def put(self, paths: Sequence[Path], *, pauses: Sequence[float] = ()) -> None:
        """Puts files into this folder, again after each pause if it cannot be reached.

        Raises:
            EmotionError: if the last attempt fails.
        """
        for pause in (*pauses, None):
            try:
                for path in paths:
                    self.address.below(path.name).put(path)
                    self.names.add(path.name)
                return
            except FileError:
                if pause is None:
                    raise
                time.sleep(pause)

    def put_or_keep(self, paths: Sequence[Path]) -> None:
        """Puts files into this folder at the end of a program; if that fails, leaves copies on this computer.

        Raises:
            FileError: if it failed; says where they are.
        """
        try:
            self.put(paths, pauses=PAUSES_SECONDS[:1])
        except EmotionError as error:
            kept = Path(tempfile.mkdtemp(prefix="emotion-summary-"))
            for path in paths:
                shutil.copy(path, kept)
            raise FileError(f"{error} The summary is kept in {kept}: copy it to {self}, then use --resume.") from error

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Locks the folder, or a part of a batch in it, against other programs of this computer.

        Raises:
            ConfigError: if another program holds the lock.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked_names([Path("/", str(self.address), name)]))
            except ConfigError:
                raise ConfigError(
                    f"{self}: another program is writing its results there. Wait for it, or choose another folder."
                ) from None
            yield
