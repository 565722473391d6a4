"""Clips at addresses and results at addresses: fetched, labelled, put whole, and no message holds a password."""

import csv
import errno
import io
import json
import tempfile
from pathlib import Path

import fsspec
import pytest
import soundfile
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations

import run_inference
from emotion.console import SOME_FILES_FAILED
from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.errors import ConfigError, EmotionError, MediaError
from emotion.files import own_temporary_folder
from emotion.inference import batch as batch_module
from emotion.inference import result_store
from emotion.inference.addresses import Address, is_address
from emotion.inference.batch import BEGUN, DONE, FAILED, SETTINGS_FILE, SUMMARY_FILE, Batch
from emotion.inference.clip_search import ClipFile, LeftOut, find_clips
from emotion.inference.result_store import ResultStore
from emotion.inference.workers import Worker


@pytest.fixture
def memory():
    """An empty file system in this process's memory."""
    fs = MemoryFileSystem()
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def voice(tmp_path) -> bytes:
    content = io.BytesIO()
    sound = synthesize_voice("sad", speaker_seed=2, sample_rate=16000)
    soundfile.write(content, sound, 16000, format="WAV")
    return content.getvalue()


@pytest.fixture
def bucket(memory, voice) -> str:
    for name in ("a.wav", "deep/b.wav"):
        memory.pipe(f"/clips/{name}", voice)
    memory.pipe("/clips/empty.wav", b"")
    memory.pipe("/clips/notes.txt", b"no clip")
    return "memory://clips/"


@pytest.fixture
def run(call, trained):
    options = ("--model", trained.path, "--no_progress", "--no_plot", "--json")
    return lambda *words: call(run_inference, *words, *options)


def read_summary(content: str) -> dict[str, dict[str, str]]:
    return {row["file"]: row for row in csv.DictReader(io.StringIO(content))}


# ---- What is an address, and what is shown of it ----


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("s3://bucket/clips/", True), ("file:///tmp/a.mp4", True), ("memory://a", True), ("clips/a.mp4", False),
        ("C:/clips/a.mp4", False), ("a:b.mp4", False), ("0", False), (Path("s3://bucket/a.mp4"), True),
        (Path("C:/clips"), False),
    ],
)  # fmt: skip
def test_an_address_is_known_by_its_scheme(word, expected):
    assert is_address(word) == expected


@pytest.mark.parametrize(
    ("url", "shown", "name", "secret"),
    [
        ("sftp://me:se@cret@host:22/d/a.mp4", "sftp://host:22/d/a.mp4", "a.mp4", "se@cret"),
        ("https://TOKEN@host/d/a%20b.mp4?X-Signature=secret#t", "https://host/d/a%20b.mp4", "a b.mp4", "secret"),
        ("https://TOKEN@host/a.mp4", "https://host/a.mp4", "a.mp4", "TOKEN"),
        ("abfs://container@account.dfs.core.windows.net/a.mp4", "abfs://container@account.dfs.core.windows.net/a.mp4",
         "a.mp4", "none"),
        ("s3://bucket/who@where/a?b.mp4", "s3://bucket/who@where/a?b.mp4", "a?b.mp4", "none"),
        ("s3://bucket/d/..", "s3://bucket/d/..", "clip", "none"),
    ],
)  # fmt: skip
def test_login_and_query_are_never_shown(url, shown, name, secret):
    address = Address(url)
    assert (str(address), address.name) == (shown, name)
    assert secret not in f"{address} {address!r} {address.hide(f'{url} failed: {url}')}"
    assert secret == "none" or secret not in address.hide(f"no login for {secret}, X-Signature={secret}")


def test_errors_of_a_file_system_are_a_line_with_a_way_out_and_without_secrets():
    address = Address("sftp://me:hidden@host/d/a.mp4")
    for error, words in (
        (FileNotFoundError("/d/a.mp4"), "no such bucket, folder or file"),
        (PermissionError("me:hidden may not"), "you may not read"),
        (RuntimeError("cannot log in me with hidden\nmore"), "cannot be read (cannot log in"),
        (OSError(errno.ECONNRESET, "Connection reset"), "cannot be read (Connection reset)"),
    ):
        with pytest.raises(EmotionError) as told, address.errors():
            raise error
        assert str(told.value).startswith("sftp://host/d/a.mp4: ") and words in str(told.value)
        assert "hidden" not in str(told.value) and "\n" not in str(told.value)
    with pytest.raises(EmotionError) as told, address.errors(local=Path("/room/clip.mp4")):
        raise OSError(errno.ENOSPC, "No space left on device")
    words = (
        "sftp://host/d/a.mp4: /room: no space left on device. Make room there, or name another place: TMPDIR=FOLDER."
    )
    assert str(told.value) == words


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nope://a/b.mp4",), "nope:// is unknown to fsspec"),
        (("memory://nothing/",), "memory://nothing/: no such bucket, folder or file"),
        (("memory://nothing/a.mp4",), "memory://nothing/a.mp4: no such"),
        (("zip://a.mp4::memory://b.zip",), "chain"),
        (("memory://clips/*.mp4",), "no media files found"),
        (("memory://clips/", "--split_channels"), "--split_channels is for clips of this computer"),
        (("memory://clips/", "--adapt"), "--adapt is for clips of this computer"),
        (("memory://clips/a.wav", "--output", "s3://bucket/a.mp4"), "--output: takes a file of this computer"),
        (("memory://clips/a.wav", "--output_dir", "https://host/a"), "nothing can be put on a web server"),
        (("memory://clips/a.wav", "--resume"), "--resume is for several clips"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_line(bucket, run, words, told):
    done = run(*words)
    assert done.code in (1, 2) and told in done.err and done.err.count("\n") == 1


def test_a_missing_package_is_named(run, monkeypatch):
    known = {"class": "no_such_package.FileSystem", "err": "Install no_such_package"}
    monkeypatch.setitem(known_implementations, "absent", known)
    done = run("absent://me:hidden@bucket/clips/")
    assert done.code == 2 and "absent://bucket/clips/: needs another package (Install no_such" in done.err


# ---- Finding ----


def test_a_folder_at_an_address_is_searched_by_names_in_order(memory):
    for name in (
        "b.mp4", "a.WAV", "deep/er/c.jpg", "deep/er/c_emotion.png", "notes.txt", ".hidden.mp4", ".hid/d.mp4",
        "b_emotion_plot.png", "b_emotion.mp4", "sad_emotion.mp4", "no_extension", "half.mp4.part",
    ):  # fmt: skip
        memory.pipe(f"/clips/{name}", b"x")
    left_out = LeftOut()
    clips = find_clips(["memory://clips"], left_out)
    assert [(clip.file, clip.name) for clip in clips] == [
        ("memory://clips/a.WAV", "a"), ("memory://clips/b.mp4", "b"),
        ("memory://clips/deep/er/c.jpg", str(Path("deep/er/c"))), ("memory://clips/sad_emotion.mp4", "sad_emotion"),
    ]  # fmt: skip
    assert {reason: len(paths) for reason, paths in left_out.by_reason.items()} == {
        "not media by name": 2, "made by this program": 3, "hidden": 2, "unfinished downloads": 1,
    }  # fmt: skip


def test_patterns_files_and_folders_here_and_there_are_found_together(memory, tmp_path):
    for name in ("a.mp4", "b.mp4", "sub/c.mp4"):
        memory.pipe(f"/clips/{name}", b"x")
    (tmp_path / "a.mp4").write_bytes(b"x")
    found = find_clips(["memory://clips/*.mp4", "memory://clips/b.mp4", str(tmp_path)])
    assert [(clip.file, clip.name) for clip in found] == [
        ("memory://clips/a.mp4", "a.mp4"), ("memory://clips/b.mp4", "b"), (str(tmp_path / "a.mp4"), "a.mp4 2"),
    ]  # fmt: skip
    assert [clip.name for clip in find_clips(["memory://clips/**/*.mp4"])] == ["a", "b", "c"]
    assert find_clips(["memory://clips/a.mp4"]) is None
    # Of several, one that is missing costs itself; alone it ends the program before a model is loaded.
    assert len(find_clips(["memory://clips/a.mp4", "memory://clips/gone.mp4"])) == 2
    with pytest.raises(MediaError, match="gone.mp4: no such"):
        find_clips(["memory://clips/gone.mp4"])


def test_no_name_at_an_address_leads_out_of_the_results_folder(monkeypatch):
    class Odd(MemoryFileSystem):
        protocol = "odd"

        def info(self, path, **options):
            return {"name": path, "type": "directory", "size": 0}

        def find(self, path, **options):
            names = ("bucket/../../up.mp4", "bucket//abs.mp4", "bucket/./here.mp4", "bucket/folder/")
            return {name: {"name": name, "type": "file", "size": 1} for name in names}

        @classmethod
        def _strip_protocol(cls, path):
            return path.removeprefix("odd://").rstrip("/")

    fsspec.register_implementation("odd", Odd, clobber=True)
    names = [Path(clip.name) for clip in find_clips(["odd://bucket/"])]
    assert len(names) == 3 and not any(path.is_absolute() or ".." in path.parts for path in names)


def test_two_addresses_that_look_alike_are_not_taken_for_one(monkeypatch):
    monkeypatch.setattr(Address, "find", lambda self: ("file", [self]))
    with pytest.raises(ConfigError, match="differ only in login or query") as told:
        find_clips(["https://host/get.mp4?id=secret1", "https://host/get.mp4?id=secret2"])
    assert "secret" not in str(told.value)


# ---- The program ----


def test_a_batch_from_an_address_to_an_address_is_as_one_on_disk(bucket, memory, run, voice, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = run(bucket, "--output_dir", "memory://out/deep")
    assert done.code == SOME_FILES_FAILED and done.err.count("\n") == 1
    assert "memory://clips/empty.wav: is empty (0 bytes)" in done.err
    assert "2 of 3 clips analysed" in done.out and "summary: memory://out/deep/summary.csv" in done.out
    assert "1 not media by name (notes.txt)" in done.out
    assert sorted(memory.find("/out")) == [
        "/out/deep/a_emotion.json", "/out/deep/deep/b_emotion.json", f"/out/deep/{SUMMARY_FILE}",
        f"/out/deep/{SETTINGS_FILE}",
    ]  # fmt: skip
    rows = read_summary(memory.cat("/out/deep/summary.csv").decode())
    assert {file: row["status"] for file, row in rows.items()} == {
        "memory://clips/a.wav": DONE, "memory://clips/deep/b.wav": DONE, "memory://clips/empty.wav": FAILED,
    }  # fmt: skip
    assert rows["memory://clips/deep/b.wav"]["outputs"] == "deep/b_emotion.json"
    assert rows["memory://clips/empty.wav"]["outputs"] == ""
    table = memory.cat("/out/deep/a_emotion.json").decode()
    assert json.loads(table)["file"] == "memory://clips/a.wav" and "/emotion-" not in table
    assert not list(own_temporary_folder().iterdir())

    again = run(bucket, "--output_dir", "memory://out/deep")
    assert again.code == 2 and "memory://out/deep: holds results already" in again.err
    memory.pipe("/clips/empty.wav", voice)
    memory.rm("/out/deep/a_emotion.json")
    kept = memory.info("/out/deep/deep/b_emotion.json")["created"]
    again = run(bucket, "--output_dir", "memory://out/deep", "--resume")
    assert again.code == 0 and "skipped: 1" in again.out and "3 of 3" in again.out
    assert memory.exists("/out/deep/a_emotion.json")
    assert memory.info("/out/deep/deep/b_emotion.json")["created"] == kept


def test_one_clip_and_the_mixtures_of_here_and_there(bucket, memory, run, voice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("memory://clips/a.wav")
    assert done.code == 0 and "JSON: a_emotion.json" in done.out
    assert json.loads(Path("a_emotion.json").read_text())["file"] == "memory://clips/a.wav"
    assert [path.name for path in tmp_path.iterdir()] == ["a_emotion.json"]
    done = run("memory://clips/a.wav", "--output_dir", "memory://one")
    assert done.code == 0 and "JSON: memory://one/a_emotion.json" in done.out and memory.exists("/one/a_emotion.json")
    done = run("memory://clips/a.wav", "--output_dir", "memory://one")
    assert done.code == 2 and "memory://one/a_emotion.json: exists. Replace it with --overwrite" in done.err
    assert run("memory://clips/a.wav", "--output_dir", "memory://one", "--overwrite").code == 0
    assert "memory://clips/empty.wav: is empty" in run("memory://clips/empty.wav").err
    done = run("memory://clips/a.wav", "--output_dir", "memory://two", "--csv", "named.csv")
    assert done.code == 0 and "CSV: named.csv" in done.out and Path("named.csv").is_file()
    assert memory.find("/two") == ["/two/a_emotion.json"]
    done = run("memory://clips/*.wav", "--output_dir", tmp_path / "here")
    assert done.code == SOME_FILES_FAILED and (tmp_path / "here" / "a_emotion.json").is_file()
    Path("c.wav").write_bytes(voice)
    Path("d.wav").write_bytes(voice)
    done = run("c.wav", "d.wav", "memory://clips/a.wav", "--label_studio", "--output_dir", "memory://there")
    assert done.code == 0 and memory.exists("/there/c_emotion.json") and memory.exists("/there/summary.csv")
    assert json.loads(memory.cat("/there/c_emotion.json"))["file"] == "c.wav"
    tasks = [json.loads(memory.cat(f"/there/{name}_emotion.label_studio.json")) for name in "ca"]
    assert [task["data"]["audio"] for (task,) in tasks] == ["c.wav", "memory://clips/a.wav"]


def test_nothing_of_others_is_replaced_at_an_address(bucket, memory, run):
    memory.rm("/clips/empty.wav")
    memory.pipe("/out/a_emotion.json", b"precious")
    done = run(bucket, "--output_dir", "memory://out")
    assert done.code == SOME_FILES_FAILED and "memory://out/a_emotion.json: exists" in done.err
    again = run(bucket, "--output_dir", "memory://out", "--resume")  # a row of a failed clip gives no right to replace
    assert again.code == SOME_FILES_FAILED and memory.cat("/out/a_emotion.json") == b"precious"
    assert run(bucket, "--output_dir", "memory://out", "--overwrite").code == 0
    assert memory.cat("/out/a_emotion.json") != b"precious"


def test_no_clip_at_an_address_is_replaced_by_a_result(memory, run, voice):
    memory.pipe("/clips/voice.wav", voice)
    memory.pipe("/clips/voice_emotion.wav", voice)
    memory.pipe("/clips/x/voice_emotion_plot.png", b"x")
    names = ["memory://clips/voice.wav", "memory://clips/voice_emotion.json"]
    memory.pipe("/clips/voice_emotion.json", voice)  # a clip of an odd name, given by that name
    done = run(*names, "--overwrite", "--output_dir", "memory://clips")
    assert done.code == SOME_FILES_FAILED and "voice_emotion.json" in done.err
    assert memory.cat("/clips/voice_emotion.json") == voice


# ---- Faults of the network ----


class Faulty(LocalFileSystem):
    """Files of this disk behind a network that fails where a file beside them says so."""

    protocol = "faulty"

    def unstrip_protocol(self, name):
        return f"faulty://{name}"

    def put_file(self, path1, path2, callback=None, **options):
        fault = next((part for part in ("b_emotion", "summary") if part in path2), "none")
        if (Path(path2).parent / f"fail_{fault}").exists():
            Path(path2).write_bytes(b"half")
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        return super().put_file(path1, path2, callback=callback, **options)

    def get_file(self, path1, path2, callback=None, **options):
        super().get_file(path1, path2, callback=callback, **options)
        if Path(path1).name.startswith("short"):
            Path(path2).write_bytes(Path(path2).read_bytes()[:100])


@pytest.fixture
def faulty(tmp_path, voice):
    fsspec.register_implementation("faulty", Faulty, clobber=True)
    (tmp_path / "clips").mkdir()
    (tmp_path / "out").mkdir()
    for name in ("a.wav", "b.wav", "short.wav"):
        (tmp_path / "clips" / name).write_bytes(voice)
    return tmp_path


def test_a_network_that_fails_costs_that_clip_alone_and_leaves_no_half_file(faulty, run):
    (faulty / "out" / "fail_b_emotion").touch()
    words = (f"faulty://{faulty}/clips", "--output_dir", f"faulty://{faulty}/out")
    done = run(*words)
    assert done.code == SOME_FILES_FAILED and done.err.count("\n") == 2
    assert "out/b_emotion.json: cannot be written (Connection reset by peer)" in done.err
    assert "short.wav: 100 of " in done.err and "bytes arrived" in done.err
    names = {path.name for path in (faulty / "out").iterdir()}
    assert names == {"a_emotion.json", "fail_b_emotion", SUMMARY_FILE, SETTINGS_FILE}
    (faulty / "out" / "fail_b_emotion").unlink()
    (faulty / "clips" / "short.wav").rename(faulty / "clips" / "whole.wav")
    again = run(*words, "--resume")
    assert again.code == 0 and "skipped: 1" in again.out and (faulty / "out" / "b_emotion.json").is_file()


def test_a_summary_that_cannot_be_put_at_the_end_is_kept_here(faulty, run, monkeypatch):
    monkeypatch.setattr(result_store, "PAUSES_SECONDS", (0.0,))
    monkeypatch.setattr(result_store.ResultStore, "put_or_keep", fail_first(faulty / "out" / "fail_summary"))
    (faulty / "clips" / "short.wav").unlink()
    done = run(f"faulty://{faulty}/clips", "--output_dir", f"faulty://{faulty}/out")
    assert done.code == 1 and "The summary is kept in " in done.err
    kept = Path(done.err.split("kept in ")[1].split(":")[0])
    rows = read_summary((kept / SUMMARY_FILE).read_text())
    assert {row["status"] for row in rows.values()} == {DONE}


def fail_first(mark: Path):
    put = ResultStore.put_or_keep

    def put_or_keep(self, paths):
        mark.touch()
        put(self, paths)

    return put_or_keep


def test_a_place_that_takes_no_results_is_told_before_a_clip_is_labelled(faulty, run):
    (faulty / "out" / "fail_summary").touch()
    done = run(f"faulty://{faulty}/clips", "--output_dir", f"faulty://{faulty}/out")
    assert done.code == 1 and done.err.count("\n") == 1 and "cannot be written" in done.err and not done.out


# ---- The record at an address ----


def test_a_killed_program_leaves_word_of_what_a_later_one_may_replace(memory, tmp_path, monkeypatch):
    """The record is put before a block of clips is begun, so it names all files that may be half a batch's."""
    store = ResultStore(Address("memory://out"))
    batch = Batch(tmp_path / "here", {}, store=store)
    assert b"a.wav" not in memory.cat("/out/summary.csv")
    clip = ClipFile(Address("memory://clips/a.wav", 3, "3 x"), "a")
    batch.note_begun(clip, [tmp_path / "here" / "a_emotion.json"])
    batch.put()
    assert b"a.wav" not in memory.cat("/out/summary.csv") and memory.exists("/out/summary_journal.jsonl")
    memory.pipe("/out/a_emotion.json", b"{}")  # put by a worker; then the program is killed
    later = Batch(tmp_path / "elsewhere", {}, resume=True, store=ResultStore(Address("memory://out")))
    assert later.rows["memory://clips/a.wav"]["status"] == BEGUN and not later.is_done(clip)
    assert later.outputs(clip) == [tmp_path / "elsewhere" / "a_emotion.json"]
    assert b"a.wav" in memory.cat("/out/summary.csv") and not memory.exists("/out/summary_journal.jsonl")


def test_the_record_is_put_every_so_often(memory, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_module, "PUT_SECONDS", 0.0)
    monkeypatch.setattr(batch_module, "WHOLE_SHARE", 1e9)
    batch = Batch(tmp_path / "here", {}, store=ResultStore(Address("memory://out")))
    batch.note_failed(ClipFile(Address("memory://clips/a.wav"), "a"), "a.wav: is bad")
    assert b"is bad" not in memory.cat("/out/summary.csv")
    batch.put_in_time()
    assert b"is bad" in memory.cat("/out/summary.csv")


def test_shards_and_a_whole_batch_at_an_address_do_not_mix_until_one_is_overwritten(bucket, memory, run):
    memory.rm("/clips/empty.wav")
    out = ("--output_dir", "memory://out")
    for part in ("1/2", "2/2"):
        assert run(bucket, *out, "--shard", part).code == 0
    mixed = run(bucket, *out, "--resume")
    assert mixed.code == 2 and "not in the same parts (summary_1-of-2.csv)" in mixed.err
    assert run(bucket, *out, "--overwrite").code == 0
    assert not [name for name in memory.find("/out") if "-of-" in name]
    again = run(bucket, *out, "--resume")
    assert again.code == 0 and "skipped: 2" in again.out


def test_a_stop_leaves_a_record_at_the_address_that_was_there_from_the_start(bucket, memory, run, monkeypatch):
    label, at_first = Worker.label, []

    def label_one_then_stop(self, task, **options):
        if at_first:
            raise KeyboardInterrupt
        at_first.append(memory.cat("/out/summary_journal.jsonl").decode())
        return label(self, task, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "label", label_one_then_stop)
        done = run(bucket, "--output_dir", "memory://out")
    assert done.code == 130 and "run the same command with --resume" in done.out
    # Whoever kills the program now leaves word of the files that may have been written.
    rows = {row["file"]: row for row in map(json.loads, at_first[0].splitlines())}
    assert {row["status"] for row in rows.values()} == {BEGUN} and len(rows) == 3
    assert rows["memory://clips/a.wav"]["outputs"].split("|") == ["a_emotion.mp4", "a_emotion.json", "a_emotion.png"]
    rows = read_summary(memory.cat("/out/summary.csv").decode())
    assert [row["status"] for row in rows.values()] == [DONE, BEGUN, BEGUN]
    memory.rm("/clips/empty.wav")
    again = run(bucket, "--output_dir", "memory://out", "--resume")
    assert again.code == 0 and "skipped: 1" in again.out


@pytest.mark.parametrize(
    "engine", [("--workers", 2), pytest.param(("--cluster", "local:2"), marks=pytest.mark.thorough)]
)
def test_workers_fetch_and_put_by_themselves(faulty, run, engine, monkeypatch):
    monkeypatch.setattr(batch_module, "PUT_CLIPS", 1)
    (faulty / "clips" / "short.wav").unlink()
    (faulty / "clips" / "empty.wav").touch()
    words = (f"file://{faulty}/clips", "--output_dir", f"file://{faulty}/out", *engine)
    done = run(*words)
    assert done.code == SOME_FILES_FAILED and done.err.count("\n") == 1 and "empty.wav: is empty" in done.err
    assert {path.name for path in (faulty / "out").glob("*.json")} == {
        "a_emotion.json", "b_emotion.json", SETTINGS_FILE,
    }  # fmt: skip
    (faulty / "clips" / "empty.wav").unlink()
    again = run(*words[:3], "--resume")
    assert again.code == 0 and "skipped: 2" in again.out
