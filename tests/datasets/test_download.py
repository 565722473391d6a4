"""The download command against a server on this machine that stands for the owners, and the safety of unpacking."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from file_server import FileServer, md5
from programs import run_words
from refusals import refused

from emotion import fetching
from emotion.console import run_program
from emotion.datasets import __main__ as program
from emotion.datasets import ravdess
from emotion.datasets.download import archives, download, owners
from emotion.datasets.download.archives import Ledger, unpack
from emotion.errors import ConfigError, DatasetError, FileError
from emotion.fetching import RemoteFile
from emotion.https import FetchError

AUDIO, SONG = "Audio_Speech_Actors_01-24.zip", "Audio_Song_Actors_01-24.zip"
CONTENT = np.random.default_rng(0).bytes(300_000)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# ---- Unpacking ----


def pack(members: dict[str, bytes | str], **changes) -> bytes:
    """Returns a zip file; ``changes`` are set on every member's entry."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo("x")
            info.filename = name
            for key, value in {"compress_type": zipfile.ZIP_DEFLATED, **changes}.items():
                setattr(info, key, value)
            archive.writestr(info, content)
    return buffer.getvalue()


def make_zip(path: Path, members: dict[str, bytes], **changes) -> Path:
    path.write_bytes(pack(members, **changes))
    return path


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


NAMES_ELSEWHERE = (
    "../evil.wav", "Actor_01/../../evil.wav", "/tmp/evil.wav", "C:/evil.wav", "C:evil.wav", "..\\evil.wav",
    "Actor_01\\evil.wav", "//server/evil.wav", "Actor_01/NUL.wav", "con", "a/evil.wav:stream", "a\nb.wav", ".", "..",
    ".downloads.json", "Actor_01/.DOWNLOADS.json",
)  # fmt: skip
LINKS_AND_DEVICES = (0o120777, 0o020666, 0o060666, 0o010666, 0o140666)


@pytest.mark.parametrize(
    ("members", "changes", "fact"),
    [
        *(({"Actor_01/good.wav": b"good", name: b"evil"}, {}, repr(name)) for name in NAMES_ELSEWHERE),
        *(({"link": b"/etc/passwd"}, {"external_attr": kind << 16}, "'link'") for kind in LINKS_AND_DEVICES),
        # Names that overwrite one another.
        *((dict.fromkeys(names, b""), {}, "") for names in (("a.wav", "A.WAV"), ("a", "a/b.wav"), ("a/./b", "a/b"))),
        ({"zeros": bytes(120 << 20)}, {}, 120 << 20),
    ],
)
def test_an_unsafe_archive_is_refused_and_nothing_is_written(tmp_path, members, changes, fact):
    path = make_zip(tmp_path / "evil.zip", members, **changes)
    with refused(DatasetError, path, fact):
        unpack(path, tmp_path / "in" / "side")
    assert [item.name for item in tmp_path.iterdir()] == ["evil.zip"]


def say_less_than_there_is(data: bytearray) -> None:
    at = data.index(b"PK\x01\x02") + 24  # uncompressed size in the central directory
    data[at : at + 4] = (100).to_bytes(4, "little")


def damage(data: bytearray) -> None:
    data[-2000] ^= 0xFF


def replace(data: bytearray) -> None:
    data[:] = b"no zip"


@pytest.mark.parametrize("harm", [say_less_than_there_is, damage, replace])
def test_a_damaged_archive_is_refused_and_leaves_nothing_half_done(tmp_path, harm):
    data = bytearray(pack({"a.wav": b"a" * 5000, "b.wav": CONTENT}))
    harm(data)
    (tmp_path / "a.zip").write_bytes(data)
    with refused(DatasetError, tmp_path / "a.zip"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert everything_below(tmp_path / "out") == {}


def test_what_a_killed_call_left_behind_is_cleared_and_other_files_stay(tmp_path):
    out = tmp_path / "out"
    (out / archives.WORKPLACE).mkdir(parents=True)
    (out / archives.WORKPLACE / "half.wav").write_bytes(b"half")
    (out / "Actor_01").mkdir()
    (out / "Actor_01" / "mine.txt").write_bytes(b"mine")
    path = make_zip(tmp_path / "a.zip", {"Actor_01/a.wav": b"a", "Actor_02/b.wav": b"b", "Actor_03/": b""})
    assert unpack(path, out) == {"Actor_01/a.wav": 1, "Actor_02/b.wav": 1}
    assert everything_below(out) == {"Actor_01/mine.txt": b"mine", "Actor_01/a.wav": b"a", "Actor_02/b.wav": b"b"}


def test_an_archive_that_does_not_fit_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    path = make_zip(tmp_path / "a.zip", {"a.wav": b"a" * 11})
    with refused(DatasetError, path, f"{tmp_path / 'out'} has 0.0 GB"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"archives": []}', '{"archives": {"a.zip": 3}}', '{"archives": {"a.zip": {"parts": 1}}}']
)
def test_a_ledger_that_cannot_be_read_counts_as_empty(tmp_path, text):
    (tmp_path / archives.LEDGER).write_text(text)
    assert not Ledger(tmp_path).holds("a.zip", ["1"])


# ---- RAVDESS ----


def run_download(*words: str) -> int:
    return run_words(program, "download", *words)


def ravdess_zip(modality: str, channel: str, actors) -> bytes:
    suffix = "wav" if modality == "03" else "mp4"
    members = {
        f"Actor_{actor:02d}/{modality}-{channel}-0{emotion}-01-01-01-{actor:02d}.{suffix}": CONTENT[: 1000 * actor]
        for actor in actors
        for emotion in (1, 3)
    }
    return pack({**members, "__MACOSX/Actor_01/._03-01-01-01-01-01-01.wav": b"mac"})


@pytest.fixture
def zenodo(server):
    """A server that stands for Zenodo, with actors 1 to 3."""
    contents = {AUDIO: ravdess_zip("03", "01", (1, 2, 3)), SONG: ravdess_zip("03", "02", (1, 2, 3))}
    contents |= {f"Video_Speech_Actor_{actor:02d}.zip": ravdess_zip("01", "01", [actor]) for actor in (1, 2, 3)}
    contents |= {f"Video_Song_Actor_{actor:02d}.zip": ravdess_zip("01", "02", [actor]) for actor in (1, 2, 3)}
    files = []
    for name, content in contents.items():
        server.files[f"/files/{name}/content"] = content
        link = f"{server.url}/files/{name}/content"
        files.append({"key": name, "size": len(content), "checksum": md5(content), "links": {"self": link}})
    server.files["/record"] = json.dumps({"id": 1188976, "files": files}).encode()
    return server


def run_ravdess(zenodo: FileServer, tmp_path: Path, *words: str) -> int:
    output = str(tmp_path / "dataset")
    return run_download("ravdess", "--output", output, "--zenodo_url", f"{zenodo.url}/record", *words)


def fetched(server: FileServer) -> list[str]:
    return [request.path.split("/")[2] for request in server.requests if request.path.endswith("/content")]


def test_ravdess_arrives_as_its_reader_expects_it(zenodo, tmp_path, capsys):
    assert run_ravdess(zenodo, tmp_path, "--actors", "1-2") == 0
    root = tmp_path / "dataset"
    clips = ravdess.load(root)
    assert [clip.speaker for clip in clips] == ["ravdess:01", "ravdess:02"] * 2
    assert all(clip.audio_path and clip.video_path for clip in clips)
    inside = "Video_Speech_Actor_02/Actor_02/01-01-03-01-01-01-02.mp4"
    assert (root / inside).read_bytes() == CONTENT[:2000]
    assert not (root / "Audio_Speech_Actors_01-24" / "Actor_03").exists()
    assert sorted(item.name for item in root.iterdir()) == [
        archives.LEDGER,
        "Audio_Speech_Actors_01-24",
        "Video_Speech_Actor_01",
        "Video_Speech_Actor_02",
    ]
    output = capsys.readouterr().out
    assert "CC BY-NC-SA 4.0" in output and "Livingstone" in output and "free at" in output


def test_a_second_call_makes_no_request(zenodo, tmp_path, capsys):
    run_ravdess(zenodo, tmp_path, "--actors", "1-2")
    zenodo.requests.clear()
    assert run_ravdess(zenodo, tmp_path, "--actors", "2") == 0
    assert zenodo.requests == []
    assert "nothing to do" in capsys.readouterr().out


def test_more_actors_later_fetch_only_what_is_missing(zenodo, tmp_path):
    run_ravdess(zenodo, tmp_path, "--actors", "1")
    zenodo.requests.clear()
    run_ravdess(zenodo, tmp_path, "--actors", "1,3")
    assert fetched(zenodo) == [AUDIO, "Video_Speech_Actor_03.zip"]
    run_ravdess(zenodo, tmp_path, "--actors", "2")
    zenodo.requests.clear()
    run_ravdess(zenodo, tmp_path, "--actors", "1-3")
    assert zenodo.requests == []


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"short")])
def test_a_deleted_or_cut_off_recording_is_fetched_again(zenodo, tmp_path, harm):
    run_ravdess(zenodo, tmp_path, "--actors", "1")
    harm(next((tmp_path / "dataset" / "Video_Speech_Actor_01").rglob("*.mp4")))
    zenodo.requests.clear()
    run_ravdess(zenodo, tmp_path, "--actors", "1")
    assert fetched(zenodo) == ["Video_Speech_Actor_01.zip"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--modality", "audio"], [AUDIO]),
        (["--modality", "video"], ["Video_Speech_Actor_02.zip"]),
        (["--modality", "audio", "--song"], [AUDIO, SONG]),
        (["--song"], [AUDIO, "Video_Speech_Actor_02.zip", SONG, "Video_Song_Actor_02.zip"]),
    ],
)
def test_modality_and_song_choose_the_archives(zenodo, tmp_path, words, names):
    run_ravdess(zenodo, tmp_path, "--actors", "2", *words)
    assert fetched(zenodo) == names


def test_actor_18_does_not_sing():
    names = owners.name_archives([17, 18], modality="video", song=True)
    assert names == [f"Video_{x}.zip" for x in ("Speech_Actor_17", "Speech_Actor_18", "Song_Actor_17")]
    assert owners.actors_within(SONG, [17, 18]) == [17]


def test_archives_are_kept_if_asked_and_those_that_lay_there_always_are(zenodo, tmp_path, capsys):
    run_ravdess(zenodo, tmp_path, "--actors", "1", "--keep_archives")
    assert (tmp_path / "dataset" / AUDIO).read_bytes() == zenodo.files[f"/files/{AUDIO}/content"]
    zenodo.requests.clear()
    run_ravdess(zenodo, tmp_path, "--actors", "1-2")
    assert fetched(zenodo) == ["Video_Speech_Actor_02.zip"]
    assert (tmp_path / "dataset" / AUDIO).exists()
    assert "lay there before" in capsys.readouterr().err


def test_a_dry_run_lists_and_fetches_nothing(zenodo, tmp_path, capsys):
    assert run_ravdess(zenodo, tmp_path, "--actors", "1-2", "--dry_run") == 0
    assert fetched(zenodo) == []
    assert not (tmp_path / "dataset").exists()
    assert "Video_Speech_Actor_02.zip" in capsys.readouterr().out


def test_a_full_disk_refuses_before_anything_is_fetched(zenodo, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000_000))
    with refused(FetchError, "50.0 MB", "--output", "--actors", "--modality"):
        run_ravdess(zenodo, tmp_path, "--actors", "1")
    assert fetched(zenodo) == []
    assert run_ravdess(zenodo, tmp_path, "--actors", "1", "--dry_run") == 0


def test_ctrl_c_keeps_the_part_and_the_next_call_goes_on(zenodo, tmp_path, monkeypatch, capsys):
    path = f"/files/{AUDIO}/content"

    def interrupt(file, chunk, part, real=fetching.write_chunk):
        real(file, chunk[:5000], part)
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "write_chunk", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_ravdess(zenodo, tmp_path, "--actors", "1")
    monkeypatch.undo()
    assert [part.stat().st_size for part in (tmp_path / "dataset").glob(f"{AUDIO}.*.part")] == [5000]
    assert "give the same command again" in capsys.readouterr().out
    assert run_ravdess(zenodo, tmp_path, "--actors", "1") == 0
    assert [request.range for request in zenodo.asked(path)] == [None, "bytes=5000-"]


def test_an_evil_archive_from_the_server_writes_nothing_outside(zenodo, tmp_path):
    evil = pack({"../../03-01-01-01-01-01-01.wav": b"evil"})
    record = json.loads(zenodo.files["/record"])
    record["files"][0] |= {"size": len(evil), "checksum": md5(evil)}
    zenodo.files |= {f"/files/{AUDIO}/content": evil, "/record": json.dumps(record).encode()}
    with refused(DatasetError, AUDIO, "../../03-01-01-01-01-01-01.wav"):
        run_ravdess(zenodo, tmp_path, "--actors", "1")
    assert sorted(everything_below(tmp_path)) == [f"dataset/{AUDIO}"]


def test_an_archive_without_an_actor_is_an_error(zenodo, tmp_path):
    with refused(FetchError, AUDIO, "actor 4"):
        run_ravdess(zenodo, tmp_path, "--actors", "4", "--modality", "audio")


@pytest.mark.parametrize("record", ["<html>", "[]", '{"files": [{"key": "a"}]}', '{"files": []}', '{"files": null}'])
def test_a_record_that_is_none_is_one_clear_line(zenodo, tmp_path, record):
    zenodo.files["/record"] = record.encode()
    with refused(FetchError, f"{zenodo.url}/record", "https://zenodo.org/records/1188976") as caught:
        run_ravdess(zenodo, tmp_path, "--actors", "1")
    assert "\n" not in str(caught.value)


# ---- CREMA-D ----


def make_repository(recordings: dict[str, bytes]) -> bytes:
    pointers = {
        path: f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(content)}\nsize {len(content)}\n"
        for path, content in recordings.items()
    }
    table = {"VideoDemographics.csv": "ActorID,Age,Sex\n1001,51,Male\n", "docs/VideoDemographics.csv": "another"}
    return pack({f"CREMA-D-master/{path}": text for path, text in (table | pointers).items()})


@pytest.fixture
def cremad(server):
    """A server that stands for GitHub, and under /mirror for the owners' mirror."""
    recordings = {}
    for actor in (1001, 1002, 1003):
        for sentence in ("DFA", "IEO"):
            recordings[f"AudioWAV/{actor}_{sentence}_ANG_XX.wav"] = f"wav {actor} {sentence} ".encode() * 500
            recordings[f"VideoFlash/{actor}_{sentence}_ANG_XX.flv"] = f"flv {actor} {sentence} ".encode() * 900
    recordings["AudioMP3/1001_DFA_ANG_XX.mp3"] = b"mp3"
    server.files["/repo/archive/refs/heads/master.zip"] = make_repository(recordings)
    by_oid = {sha256(content): content for content in recordings.values()}
    server.files |= {f"{place}/{oid}": content for oid, content in by_oid.items() for place in ("/lfs", "/mirror")}
    server.recordings, server.asked_for = recordings, []

    def batch(place):
        def answer(request):
            server.asked_for += [entry["oid"] for entry in request["objects"]]
            objects = [{**entry, "actions": {"download": {"href": f"{server.url}{place}/{entry['oid']}"}}}
                       for entry in request["objects"]]  # fmt: skip
            return 200, {"transfer": "basic", "objects": objects}

        return answer

    server.posts = {f"{place}/objects/batch": batch(place) for place in ("/lfs", "/mirror")}
    return server


def run_cremad(cremad: FileServer, tmp_path: Path, *words: str) -> int:
    urls = [f"--github_url={cremad.url}/repo", f"--lfs_url={cremad.url}/lfs", f"--lfs_url={cremad.url}/mirror"]
    return run_download("cremad", "--output", str(tmp_path), *urls, *words)


def cremad_files(tmp_path: Path) -> dict[str, bytes]:
    files = everything_below(tmp_path / "CREMA-D")
    del files[download.INDEX]
    return files


def test_cremad_arrives_with_its_table_checked_by_its_pointers(cremad, tmp_path, capsys):
    assert run_cremad(cremad, tmp_path, "--actors", "1-2") == 0
    files = cremad_files(tmp_path)
    assert files.pop("VideoDemographics.csv").startswith(b"ActorID")
    wanted = {path: content for path, content in cremad.recordings.items() if path.split("/")[1] < "1003"}
    del wanted["AudioMP3/1001_DFA_ANG_XX.mp3"]
    assert files == wanted
    assert "Open Database License" in capsys.readouterr().out


def test_cremad_is_not_fetched_twice_and_its_list_is_kept(cremad, tmp_path):
    run_cremad(cremad, tmp_path, "--actors", "1")
    cremad.requests.clear()
    assert run_cremad(cremad, tmp_path, "--actors", "1001") == 0
    assert cremad.requests == []
    run_cremad(cremad, tmp_path, "--actors", "1,1003", "--modality", "audio")
    assert len(cremad.requests) == 3
    assert not (tmp_path / "CREMA-D" / "VideoFlash" / "1003_DFA_ANG_XX.flv").exists()


def test_a_recording_that_was_damaged_is_fetched_again(cremad, tmp_path):
    run_cremad(cremad, tmp_path, "--actors", "1")
    path = tmp_path / "CREMA-D" / "AudioWAV" / "1001_DFA_ANG_XX.wav"
    path.write_bytes(path.read_bytes()[::-1])
    cremad.asked_for.clear()
    run_cremad(cremad, tmp_path, "--actors", "1")
    assert cremad.asked_for == [sha256(path.read_bytes())]


def test_many_recordings_are_asked_for_in_batches(cremad, tmp_path, monkeypatch):
    monkeypatch.setattr(owners, "LFS_FILES_A_REQUEST", 5)
    run_cremad(cremad, tmp_path)
    assert sum(request.method == "POST" for request in cremad.requests) == 3
    assert len(cremad_files(tmp_path)) == 13


def over_quota(request):
    return 403, {"message": "This repository exceeded its LFS budget."}


def test_a_used_up_quota_is_named_and_the_mirror_asked(cremad, tmp_path, capsys):
    cremad.posts["/lfs/objects/batch"] = over_quota
    assert run_cremad(cremad, tmp_path) == 0
    assert len(cremad_files(tmp_path)) == 13
    notes = capsys.readouterr().err
    assert "exceeded its LFS budget" in notes and "/mirror" in notes


def test_with_no_server_left_the_error_names_the_mirror_and_the_folder(cremad, tmp_path):
    cremad.posts = dict.fromkeys(cremad.posts, over_quota)
    mirror = "https://gitlab.com/cs-cooper-lab/crema-d-mirror"
    with refused(FetchError, "LFS budget", mirror, tmp_path / "CREMA-D"):
        run_cremad(cremad, tmp_path)


def test_a_wrong_recording_at_one_server_is_fetched_from_the_other(cremad, tmp_path):
    path = "AudioWAV/1001_DFA_ANG_XX.wav"
    right = cremad.recordings[path]
    cremad.files[f"/lfs/{sha256(right)}"] = right[::-1]
    assert run_cremad(cremad, tmp_path) == 0
    assert cremad_files(tmp_path)[path] == right


@pytest.mark.parametrize(
    "answer",
    [
        {"objects": [{"oid": "0", "error": {"code": 404, "message": "Object does not exist"}}]},
        {"objects": []},
        {"objects": [{}]},
        {"message": "?"},
        [],
    ],
)
def test_an_lfs_server_that_answers_otherwise_is_one_clear_line(cremad, answer):
    cremad.posts["/lfs/objects/batch"] = lambda request: (200, answer)
    with refused(FetchError, "/lfs/objects/batch"):
        owners.ask_lfs(f"{cremad.url}/lfs", [RemoteFile("", 1, f"sha256:{'a' * 64}")])


@pytest.mark.parametrize(
    "content",
    [b"<html>", b"", pack({"r/AudioWAV/1001_DFA_ANG_XX.wav": b"RIFF", "r/VideoDemographics.csv": b""})],
    ids=["another page", "empty", "recordings instead of pointers"],
)
def test_a_repository_that_is_not_as_it_used_to_be_is_one_clear_line(cremad, tmp_path, content):
    cremad.files["/repo/archive/refs/heads/master.zip"] = content
    with refused(FetchError, "/repo/archive/refs/heads/master.zip"):
        run_cremad(cremad, tmp_path)


def test_a_cremad_dry_run_writes_nothing(cremad, tmp_path, capsys):
    assert run_cremad(cremad, tmp_path, "--dry_run") == 0
    assert list(tmp_path.iterdir()) == []
    assert "12 files" in capsys.readouterr().out


# ---- The command ----


def test_actors_are_read_from_lists_and_ranges():
    assert program.read_actors(None, 3) == [1, 2, 3]
    assert program.read_actors("7, 1-3,2", 24) == [1, 2, 3, 7]
    assert program.read_actors("1001-1003,5", 91, first=1001) == [1, 2, 3, 5]


@pytest.mark.parametrize("text", ["", "a", "0", "25", "3-1", "1-", "-1", "1-2-3", "1.5", "²"])
def test_impossible_actors_are_refused(text):
    with refused(ConfigError, "--actors", text):
        program.read_actors(text, 24)


def test_cremad_has_no_song():
    with refused(ConfigError, "--song", "RAVDESS"):
        run_download("cremad", "--song")


def test_a_server_out_of_reach_is_one_line_with_the_way_out_and_exit_code_1(server, tmp_path, capsys):
    with FileServer() as gone:
        url = gone.url  # nobody listens there any more
    words = ("ravdess", "--zenodo_url", url, "--output", str(tmp_path))
    assert run_program(lambda: run_download(*words)) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    for hint in (url, "by hand", "https://zenodo.org/records/1188976", AUDIO, str(tmp_path)):
        assert hint in lines[0]


def test_wrong_settings_are_exit_code_2():
    assert run_program(lambda: run_download("ravdess", "--actors", "99")) == 2


def test_an_output_that_is_a_file_is_one_line(zenodo, tmp_path):
    (tmp_path / "dataset").write_text("a file")
    with refused(FileError, tmp_path / "dataset", "another place"):
        run_ravdess(zenodo, tmp_path, "--actors", "1")


@pytest.mark.skipif(os.name == "nt", reason="signals differ there")
def test_a_signal_from_the_keyboard_is_exit_code_130_and_the_part_stays(zenodo, tmp_path):
    content = zenodo.files[f"/files/{AUDIO}/content"]
    zenodo.faults[f"/files/{AUDIO}/content"] = [{"break_after": len(content) // 2, "stall_seconds": 3}]
    words = ["ravdess", "--actors=1", f"--zenodo_url={zenodo.url}/record", f"--output={tmp_path}"]
    # A shell's background jobs are deaf to the signal, and so would be what they start.
    listening = (
        "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "runpy.run_module('emotion.datasets', run_name='__main__')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", listening, "download", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not any(part.stat().st_size for part in tmp_path.glob("*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert "Stopped." in errors and "Traceback" not in errors
    assert [part.read_bytes() for part in tmp_path.glob("*.part")] == [content[: len(content) // 2]]
