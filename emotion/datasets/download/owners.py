"""Where the data sets come from: what their owners publish, under which licence, and how to ask for it.

RAVDESS is a record of zip files at Zenodo, whose interface gives every file's size and MD5. CREMA-D is a Git repository
whose recordings lie in Git LFS: the repository itself holds, for each, a note of its SHA-256 and size, and the LFS
server says where that content is (https://github.com/git-lfs/git-lfs, docs/spec.md and docs/api/batch.md).
"""

import io
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emotion.console import SILENT, Reporter
from emotion.datasets import ravdess
from emotion.fetching import RemoteFile
from emotion.https import FetchError, read_bytes, read_json

MODALITY_CHOICES = ("both", "audio", "video")

ZENODO_URL = "https://zenodo.org/api/records/1188976"
GITHUB_URL = "https://github.com/CheyneyComputerScience/CREMA-D"
# The second is the owners' own mirror. GitHub stops handing out a repository's LFS files when its monthly quota is used
# up, which the owners answer with this mirror (issue 15 of CREMA-D's repository); it holds the same contents.
CREMAD_MIRROR = "https://gitlab.com/cs-cooper-lab/crema-d-mirror"
LFS_URLS = (f"{GITHUB_URL}.git/info/lfs", f"{CREMAD_MIRROR}.git/info/lfs")

CREMAD_TABLE = "VideoDemographics.csv"
MAX_REPOSITORY_BYTES = 300_000_000  # without its LFS files it takes a tenth of that
MAX_TABLE_BYTES = 1_000_000
LFS_FILES_A_REQUEST = 100
LFS_TYPE = "application/vnd.git-lfs+json"

_LFS_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize ([0-9]+)\n?")
_CREMAD_MEDIA = re.compile(r"[^/]+/((?:AudioWAV/(\d{4})_\w+\.wav)|(?:VideoFlash/(\d{4})_\w+\.flv))")
_RAVDESS_MEMBER = re.compile(r"(?:[^/.][^/]*/)*[0-9]{2}(?:-[0-9]{2}){5}-([0-9]{2})\.[a-z0-9]+")


@dataclass(frozen=True)
class Source:
    """What is to be said of a data set before anything of it is fetched."""

    title: str
    licence: str
    citation: str
    page: str
    n_actors: int


SOURCES = {
    "ravdess": Source(
        title="RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song",
        licence=f"{ravdess.LICENCE}, https://creativecommons.org/licenses/by-nc-sa/4.0/ (no commercial use)",
        citation=(
            "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song "
            "(RAVDESS). PLoS ONE 13(5): e0196391. https://doi.org/10.1371/journal.pone.0196391"
        ),
        page="https://zenodo.org/records/1188976",
        n_actors=ravdess.N_ACTORS,
    ),
    "cremad": Source(
        title="CREMA-D, the Crowd-sourced Emotional Multimodal Actors Dataset",
        licence=(
            "Open Database License 1.0, http://opendatacommons.org/licenses/odbl/1.0/; its contents under the "
            "Database Contents License 1.0, http://opendatacommons.org/licenses/dbcl/1.0/"
        ),
        citation=(
            "Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: Crowd-sourced Emotional "
            "Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4), 377-390. "
            "https://doi.org/10.1109/TAFFC.2014.2336244"
        ),
        page=GITHUB_URL,
        n_actors=91,
    ),
}


# ---- RAVDESS ----


def name_archives(actors: Iterable[int], *, modality: str, song: bool) -> list[str]:
    """Returns the names of RAVDESS's zip files that hold these actors' recordings."""
    names = []
    for channel in ("Speech", "Song") if song else ("Speech",):
        if modality != "video":
            names.append(f"Audio_{channel}_Actors_01-24.zip")
        if modality != "audio":
            names += [f"Video_{channel}_Actor_{actor:02d}.zip" for actor in actors if has_recordings(channel, actor)]
    return names


def has_recordings(channel: str, actor: int) -> bool:
    """Whether an actor took part: actor 18 does not sing."""
    return channel != "Song" or actor != 18


def actors_within(archive: str, actors: Iterable[int]) -> list[int]:
    """Returns which of these actors a RAVDESS zip file holds."""
    prefix, channel, _, last = archive.removesuffix(".zip").split("_")
    if prefix == "Video":
        return [actor for actor in actors if actor == int(last)]
    return [actor for actor in actors if has_recordings(channel, actor)]


def growth(archive: str, actors: Sequence[int]) -> float:
    """Returns an estimate of the unpacked bytes of these actors for each byte of the zip file.

    Sound packs to about 40 %, video hardly at all; the archive itself says it exactly once it is there.
    """
    return 3.0 * len(actors) / ravdess.N_ACTORS if archive.startswith("Audio") else 1.05


def actor_of_member(name: str) -> int | None:
    """Returns the actor of a file in a RAVDESS zip, or None for anything else, such as notes and hidden files."""
    match = _RAVDESS_MEMBER.fullmatch(name)
    return int(match[1]) if match else None


def read_zenodo_record(url: str, names: Sequence[str], *, reporter: Reporter = SILENT) -> dict[str, RemoteFile]:
    """Returns the files of a Zenodo record by name, with the sizes and checksums given there.

    Raises:
        FetchError: if the record cannot be read, or lacks one of these names.
    """
    record = read_json(url, reporter=reporter, headers={"Accept": "application/json"})
    try:
        files = {
            file["key"]: RemoteFile(file["links"]["self"], int(file["size"]), file["checksum"].lower())
            for file in record["files"]
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise FetchError(f"{url} does not answer with a Zenodo record that lists files.") from None
    missing = [name for name in names if name not in files]
    if missing:
        raise FetchError(f"The record {url} holds no {missing[0]}.")
    wanted = {name: files[name] for name in names}
    for name, file in wanted.items():
        if not re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file.checksum):
            raise FetchError(f"The record {url} gives {name} a checksum of an unknown kind: {file.checksum!r}.")
    return wanted


# ---- CREMA-D ----


@dataclass(frozen=True)
class CremadIndex:
    """What CREMA-D's repository says of its recordings.

    Attributes:
        files: path (``AudioWAV/1001_DFA_ANG_XX.wav``) -> SHA-256 and size in bytes.
        table: ``VideoDemographics.csv``, the actors' age and sex.
    """

    files: dict[str, tuple[str, int]]
    table: bytes

    def select(self, actors: Iterable[int], modality: str) -> dict[str, tuple[str, int]]:
        """Returns the files of these actors (1 is CREMA-D's 1001)."""
        folders = {"both": ("AudioWAV", "VideoFlash"), "audio": ("AudioWAV",), "video": ("VideoFlash",)}[modality]
        starts = tuple(f"{folder}/{1000 + actor}_" for folder in folders for actor in actors)
        return {path: entry for path, entry in self.files.items() if path.startswith(starts)}

    def to_json(self) -> str:
        return json.dumps({"files": self.files, "table": self.table.decode("latin-1")})

    @classmethod
    def from_json(cls, text: str) -> "CremadIndex":
        """Raises ValueError for anything that ``to_json`` has not written."""
        try:
            content = json.loads(text)
            files = {path: (str(oid), int(size)) for path, (oid, size) in content["files"].items()}
            return cls(files, content["table"].encode("latin-1"))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(str(error)) from None


def read_cremad_index(github_url: str, *, reporter: Reporter = SILENT) -> CremadIndex:
    """Reads the repository's own files, in which a note of 131 bytes stands for each recording: one request for all.

    Raises:
        FetchError: if it cannot be had or is not laid out as expected.
    """
    url = f"{github_url}/archive/refs/heads/master.zip"
    content = read_bytes(url, limit=MAX_REPOSITORY_BYTES, reporter=reporter)
    files, table = {}, None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                if info.filename.endswith(f"/{CREMAD_TABLE}") and info.filename.count("/") == 1:
                    table = archive.read(info) if info.file_size <= MAX_TABLE_BYTES else None
                match = _CREMAD_MEDIA.fullmatch(info.filename)
                pointer = match and info.file_size < 1024 and _LFS_POINTER.fullmatch(archive.read(info))
                if pointer:
                    files[match[1]] = (pointer[1].decode(), int(pointer[2]))
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise FetchError(f"{url} is not a readable zip file: {error}.") from None
    if not files or table is None:
        raise FetchError(f"{url} does not list CREMA-D's recordings and {CREMAD_TABLE} as it used to.")
    return CremadIndex(dict(sorted(files.items())), table)


def ask_lfs(lfs_url: str, files: Iterable[RemoteFile], *, reporter: Reporter = SILENT) -> dict[str, RemoteFile]:
    """Asks a Git LFS server where contents, known by SHA-256 and size, can be fetched.

    Returns:
        Checksum -> file.

    Raises:
        FetchError: if the server will not give one of them, in its own words.
    """
    sizes = {file.checksum.removeprefix("sha256:"): file.size for file in files}
    listed = [{"oid": oid, "size": size} for oid, size in sizes.items()]
    request = {"operation": "download", "transfers": ["basic"], "objects": listed}
    url = f"{lfs_url}/objects/batch"
    headers = {"Accept": LFS_TYPE, "Content-Type": LFS_TYPE}
    answer = read_json(url, headers=headers, body=json.dumps(request).encode(), reporter=reporter)
    found = {}
    try:
        for entry in answer["objects"]:
            if "error" in entry:
                raise FetchError(f"{url} answers: {entry['error'].get('message', entry['error'])}.")
            action, checksum = entry["actions"]["download"], f"sha256:{entry['oid']}"
            found[checksum] = RemoteFile(action["href"], sizes[entry["oid"]], checksum, action.get("header") or {})
    except (KeyError, TypeError, AttributeError):
        raise FetchError(f"{url} does not answer as a Git LFS server does.") from None
    if len(found) < len(sizes):
        raise FetchError(f"{url} does not have {len(sizes) - len(found)} of the files asked for.")
    return found
