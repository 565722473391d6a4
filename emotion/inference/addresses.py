"""Files at addresses such as ``s3://bucket/clip.mp4``, by fsspec: found, fetched and put; no message holds a password.

fsspec (https://filesystem-spec.readthedocs.io) is imported only if you give an address. FFmpeg never sees one: what
lies there is fetched whole.
"""

import contextlib
import errno
import glob
import os
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from emotion.errors import ConfigError, EmotionError, FileError, MediaError, first_line
from emotion.files import displayable, file_error
from emotion.media.suffixes import MEDIA_SUFFIXES

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/", re.ASCII)  # two letters at least: C:/ is a disk
WEB_SCHEMES = ("http", "https")  # whose files are read, one by one, by addresses whose queries may be secret
CONTAINER_SCHEMES = ("abfs", "abfss", "wasb", "wasbs")  # what stands before their @ is no user
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SHORTEST_KEY = 6  # letters, of what may be secret in a query
LONGEST_NAME = 100  # letters, of a fetched file
_LOGIN = re.compile(r"(?<=://)[^/\s]*@")
_QUERY = re.compile(r"(https?://[^\s?#'\"]*)[?#][^\s'\")]*")
_VERSIONS = ("ETag", "etag", "generation", "mtime", "LastModified", "last_modified", "updated", "modified", "created")


def is_address(word: str | os.PathLike) -> bool:
    """Whether a word of the command line is an address; a ``Path`` that was made of one has lost a slash."""
    found = _ADDRESS.match(os.fspath(word))
    return found is not None and (isinstance(word, Path) or word.startswith("//", found.end() - 1))


@dataclass(frozen=True)
class Address:
    """Where a file or a folder lies; as text without login and query.

    Attributes:
        url: whole, with what no message may show.
        size: bytes, where a listing said so.
        version: what a listing said that changes when the file does.
    """

    url: str = field(repr=False)
    size: int | None = field(default=None, compare=False)
    version: str = field(default="", compare=False)

    def __str__(self) -> str:
        url = self.url
        if self.scheme in WEB_SCHEMES:
            url = re.split(r"[?#]", url, maxsplit=1)[0]
        return displayable(_LOGIN.sub("", url, count=1) if self._login else url)

    @property
    def _login(self) -> str:
        """``USER:PASSWORD`` or ``TOKEN``, if the address holds one."""
        found = _LOGIN.search(self.url)
        is_container = found and self.scheme in CONTAINER_SCHEMES and ":" not in found[0]
        return "" if found is None or is_container else found[0].removesuffix("@")

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0].lower()

    @property
    def name(self) -> str:
        """The last part, as a file's name on any disk; it keeps its extension."""
        name = displayable(str(self).rstrip("/").rpartition("/")[2]).replace("\\", "_")
        if self.scheme in WEB_SCHEMES:
            name = displayable(urllib.parse.unquote(name)).replace("/", "_")
        return "clip" if name in ("", ".", "..") else name[-LONGEST_NAME:]

    def below(self, name: str) -> "Address":
        return Address(f"{self.url.rstrip('/')}/{name}")

    def look(self) -> "Address":
        """Returns the file here with its size and version.

        Raises:
            MediaError: if there is none.
            EmotionError: if it cannot be reached.
        """
        with self.errors():
            fs, path = self._open()
            return self._found(fs.info(path), self.url)

    def find(self) -> tuple[str, list["Address"]]:
        """Returns what is here: a file, the files in a folder and its subfolders, or those that fit a pattern.

        Returns:
            ``file``, ``folder`` or ``pattern``, and the files in the order of their names.

        Raises:
            EmotionError: as for ``look``.
        """
        with self.errors():
            fs, path = self._open()
            is_pattern = glob.has_magic(path) and self.scheme not in WEB_SCHEMES
            try:
                info = fs.info(path)
            except FileNotFoundError:
                if not is_pattern:
                    raise
                kind = "pattern"
                try:
                    found = fs.glob(path, detail=True)
                except ValueError as error:
                    raise ConfigError(f"{self}: is no pattern ({first_line(error)}). Correct it.") from error
            else:
                if info["type"] != "directory":
                    return "file", [self._found(info, self.url)]
                if self.scheme in WEB_SCHEMES:
                    raise ConfigError(f"{self}: is no file. Name files: folders of web servers cannot be listed.")
                kind, found = "folder", self._walk(fs, path)
            # fsspec's own way back to an address forgets the login.
            url = self.url.rstrip("/")
            start = url.removesuffix(path) if path and url.endswith(path) else None
            return kind, [
                self._found(info, fs.unstrip_protocol(place) if start is None else start + place)
                for place, info in sorted(found.items())
                if info["type"] != "directory" and not place.endswith("/")
            ]

    def names(self) -> set[str]:
        """Returns the names of all files in this folder, subfolders included; none if it does not exist."""
        with self.errors():
            fs, path = self._open()
            try:
                fs.info(path)
                places = self._walk(fs, path)
            except FileNotFoundError:
                return set()
            start = path.rstrip("/") + "/"
            return {place.removeprefix(start) for place in places}

    def exists(self) -> bool:
        with self.errors():
            fs, path = self._open()
            try:
                fs.info(path)  # ``fs.exists`` takes a network that is gone for a file that is not there
            except FileNotFoundError:
                return False
            return True

    def fetch(self, path: Path) -> None:
        """Copies the file here to a new file of this computer.

        Raises:
            MediaError: if there is none.
            FileError: if the disk is full, or what arrives is not whole.
            EmotionError: if it cannot be reached.
        """
        with self.errors(local=path):
            fs, place = self._open()
            fs.get_file(place, str(path))
        if self.size is not None and self.scheme not in WEB_SCHEMES and path.stat().st_size != self.size:
            raise FileError(
                f"{self}: {path.stat().st_size} of {self.size} bytes arrived. Was it changed, or did the connection "
                "break? Try again."
            )

    def put(self, path: Path) -> None:
        """Copies a file of this computer here, whole or not at all; what is here is replaced.

        Raises:
            EmotionError: if that is not possible.
        """
        from fsspec import AbstractFileSystem

        with self.errors(is_written=True):
            fs, place = self._open()
            if type(fs).mv is AbstractFileSystem.mv:  # an object appears once it is whole, and cannot be renamed
                fs.put_file(str(path), place)
                return
            folder, _, name = place.rpartition("/")
            partial = f"{folder}/.{os.getpid()}.partial.{name[-40:]}"
            fs.makedirs(folder, exist_ok=True)
            try:
                fs.put_file(str(path), partial)
                _rename(fs, partial, place)
            except BaseException:
                with contextlib.suppress(Exception):
                    fs.rm_file(partial)
                raise

    def remove(self) -> None:
        with self.errors(is_written=True), contextlib.suppress(FileNotFoundError):
            fs, place = self._open()
            fs.rm_file(place)

    def _open(self):
        """Returns fsspec's file system, and the path in it."""
        if "::" in self.url:
            raise ConfigError(f"{self}: holds ::, a chain of addresses. Name the files themselves.")
        try:
            import fsspec
        except ImportError as error:
            raise ConfigError(f"{self}: needs fsspec: pip install -r requirements-cluster.txt") from error
        try:
            fs, path = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            raise ConfigError(
                f"{self}: needs another package ({first_line(error)}). Install it, or download the clips first."
            ) from error
        except ValueError as error:
            if "Protocol not known" not in str(error):
                raise
            raise ConfigError(
                f"{self}: {self.scheme}:// is unknown to fsspec, which knows s3://, gs://, abfs://, sftp://, https:// "
                "and others. Correct it, or fetch the files first."
            ) from error
        fs.invalidate_cache()
        return fs, path

    @staticmethod
    def _walk(fs, path: str) -> dict:
        from fsspec import AbstractFileSystem

        # By default it leaves out what it may not read.
        options = {"on_error": "raise"} if type(fs).find is AbstractFileSystem.find else {}
        return fs.find(path, detail=True, **options)

    @staticmethod
    def _found(info: dict, url: str) -> "Address":
        version = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
        size = info.get("size")
        return Address(url, size, f"{'' if size is None else size} {version}".strip())

    @contextlib.contextmanager
    def errors(self, *, is_written: bool = False, local: Path | None = None) -> Iterator[None]:
        """Turns whatever a file system raises into one line without secrets.

        Args:
            is_written: whether something is put here.
            local: the file of this computer that is written.
        """
        try:
            yield
        except EmotionError:
            raise
        except FileNotFoundError as error:
            if is_written:
                raise FileError(f"{self}: no such bucket or folder. Make it, or name another --output_dir.") from error
            raise MediaError(f"{self}: no such bucket, folder or file. Check the spelling.") from error
        except PermissionError as error:
            may = "write" if is_written else "read"
            raise FileError(
                f"{self}: you may not {may} there{self._quote(error)}. Check your login for {self.scheme}://."
            ) from error
        except Exception as error:  # each file system has errors of its own
            if local is not None and isinstance(error, OSError) and error.errno in FULL:
                words = str(file_error(error, local.parent)).removesuffix("Make room there, or choose another place.")
                raise FileError(f"{self}: {words}Make room there, or name another place: TMPDIR=FOLDER.") from error
            what = "written" if is_written else "read"
            raise FileError(
                f"{self}: cannot be {what}{self._quote(error)}. Check the network and your login for "
                f"{self.scheme}://, then try again."
            ) from error

    def _quote(self, error: Exception) -> str:
        words = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        return f" ({displayable(self.hide(words))})"

    def hide(self, text: str) -> str:
        """Returns a text without what is secret of this address."""
        text = text.replace(self.url, str(self))
        query = self.url.partition("?")[2] if self.scheme in WEB_SCHEMES else ""
        values = [value for value in re.split(r"[&#=]", query) if len(value) >= SHORTEST_KEY]
        for secret in filter(None, (query, *values, self._login, self._login.partition(":")[2])):
            for form in (secret, urllib.parse.unquote(secret)):
                text = text.replace(form, "...")
        return _QUERY.sub(r"\1", text)


def _rename(fs, partial: str, place: str) -> None:
    try:
        fs.mv(partial, place)
    except OSError:  # some do not replace a file
        if not fs.exists(place):
            raise
        fs.rm_file(place)
        fs.mv(partial, place)


def looks_like_a_file(address: Address) -> bool:
    """Whether a name is a media file's, so that its absence is that clip's own fault."""
    return Path(address.name).suffix.lower() in MEDIA_SUFFIXES


def resolve_place(place: Path | Address) -> Path | str:
    """Returns one and the same for a file, by whatever path or address it is named."""
    if isinstance(place, Address):
        return Path(place.url.partition("://")[2]).resolve() if place.scheme in ("file", "local") else str(place)
    return place.resolve()
