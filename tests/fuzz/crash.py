"""Kills the program (SIGKILL) at random moments, goes on as a user would, and compares with an undisturbed run.

python tests/fuzz/crash.py --n 100 --seed 1 --kinds batch download training export

A case fails if going on fails, or if its files differ from those of the undisturbed run.
"""

import collections
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support"), str(ROOT / "tests/fuzz")]

from options import parse_options  # noqa: E402

KINDS = {"batch": 50, "download": 30, "training": 10, "export": 10}
MAX_KILLS = 3  # of one case
LIMIT_SECONDS = 900


@dataclass
class Scene:
    """Something that is killed.

    Attributes:
        begin: the command, given the folder to write.
        go_on: the command after a kill.
        look: what must be equal in the end, by name.
        seconds: how long it takes undisturbed.
        expected: what ``look`` gives then.
    """

    begin: Callable[[Path], list[str]]
    go_on: Callable[[Path], list[str]]
    look: Callable[[Path], dict]
    seconds: float = 0.0
    expected: dict | None = None


def start(words: list[str]) -> subprocess.Popen:
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1", "no_proxy": "127.0.0.1",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(words: list[str]) -> str | None:
    """Runs a command to its end; returns what it complains of."""
    process = start(words)
    _, err = process.communicate(timeout=LIMIT_SECONDS)
    return None if process.returncode == 0 else f"exit code {process.returncode}: {err[-600:]}"


# ---- What is killed ----


def make_batch(folder: Path) -> Scene:
    import bad_media

    clips = folder / "clips"
    clips.mkdir(parents=True)
    for number in range(5):
        name, seconds = clips / f"c{number}.mp4", 0.5 + 0.2 * number
        bad_media.write_media(name, seconds=seconds, voice_seconds=seconds, width=160, height=120)
    words = ["run_inference.py", str(clips), "--json", "--no_plot", "--no_progress", "--output_dir"]

    def look(output: Path) -> dict:
        files = {path.name: json.loads(path.read_text()) for path in sorted(output.glob("*.json"))}
        videos = {path.name: probe(path) for path in sorted(output.glob("*.mp4"))}
        return {**files, **videos, "summary": (output / "summary.csv").read_text()}

    return Scene(lambda output: [*words, str(output)], lambda output: [*words, str(output), "--resume"], look)


def probe(path: Path) -> list:
    from emotion.media.reading import probe_media

    info = probe_media(path)
    return [info.width, info.height, info.duration_seconds, info.has_audio]


def hashes(folder: Path) -> dict:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".partial" not in path.name
    }


def make_download(folder: Path) -> Scene:
    import io
    import zipfile

    from file_server import FileServer

    server = FileServer()
    server.__enter__()
    files = []
    names = ["Audio_Speech_Actors_01-24.zip", *(f"Video_Speech_Actor_{actor:02d}.zip" for actor in (1, 2))]
    rng = random.Random(0)
    for name in names:
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w") as archive:
            for actor in (1, 2) if name.startswith("Audio") else (int(name[-6:-4]),):
                for number in range(1, 9):
                    kind, ending = ("03", "wav") if name.startswith("Audio") else ("01", "mp4")
                    clip = f"Actor_{actor:02d}/{kind}-01-0{number}-01-01-01-{actor:02d}.{ending}"
                    archive.writestr(clip, rng.randbytes(300_000))
        content = written.getvalue()
        server.files[f"/files/{name}/content"] = content
        files.append({
            "key": name, "size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
            "links": {"self": f"{server.url}/files/{name}/content"},
        })  # fmt: skip
    server.files["/record"] = json.dumps({"id": 1188976, "files": files}).encode()
    words = ["-m", "emotion.datasets", "download", "ravdess", "--actors", "1-2", "--no_progress"]
    words += ["--zenodo_url", f"{server.url}/record", "--output"]
    return Scene(lambda output: [*words, str(output)], lambda output: [*words, str(output)], hashes)


def make_training(folder: Path) -> Scene:
    from small_models import EMOTIONS, SMALL_SETTINGS

    from emotion.datasets.synthetic.clips import write_synthetic_dataset

    data, settings = folder / "data", folder / "small.json"
    write_synthetic_dataset(data, emotions=EMOTIONS, n_speakers=3, n_repetitions=1, duration_seconds=1.2)
    settings.write_text(json.dumps(SMALL_SETTINGS))
    words = ["train_model.py", "--dataset_dir", str(data), "--cache_dir", str(folder / "cache"), "--no_progress"]
    new = ["--config", str(settings), "--modality", "audio", "--epochs", "4", "--batch_size", "2"]

    def go_on(output: Path) -> list[str]:
        begun = (output / "config.json").is_file()
        return [*words, "--output", str(output), *(["--resume"] if begun else new)]

    def look(output: Path) -> dict:
        history = [line.rpartition(",")[0] for line in (output / "history.csv").read_text().splitlines()]
        return {"metrics": json.loads((output / "metrics.json").read_text()), "history": history}

    return Scene(lambda output: [*words, *new, "--output", str(output)], go_on, look)


def make_export(folder: Path) -> Scene:
    from small_models import small_config, write_small_run

    from emotion.models.run_folder import load_run

    run = write_small_run(folder / "run", small_config())

    def begin(output: Path) -> list[str]:
        if not output.exists():
            shutil.copytree(run, output)
        return ["-m", "emotion.export", str(output)]

    def look(output: Path) -> dict:
        return {"runtime": load_run(output, runtime="onnx").runtime, "model": hashes(output)["model.keras"]}

    return Scene(begin, begin, look)


MAKERS = {"batch": make_batch, "download": make_download, "training": make_training, "export": make_export}


# ---- Killing ----


def run_case(scene: Scene, output: Path, rng: random.Random) -> str | None:
    """Kills a command some times and lets it finish; returns what is wrong then."""
    words = scene.begin(output)
    for _ in range(rng.randint(1, MAX_KILLS)):
        process = start(words)
        try:
            # Somewhat longer than it takes, so that the last moments are met as well.
            process.wait(timeout=rng.uniform(0.0, 1.15 * scene.seconds))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        words = scene.go_on(output)
        if process.returncode == 0:
            break
    else:
        complaint = finish(words)
        if complaint and "nothing to resume" not in complaint:
            return complaint
    found = scene.look(output)
    for name, value in scene.expected.items():
        if found.get(name) != value:
            return f"{name} differs from the undisturbed run's: {str(found.get(name))[:300]} != {str(value)[:300]}"
    return None


def main() -> int:
    args = parse_options(__doc__, KINDS, n=100)
    os.chdir(ROOT)
    begun, counts, n_faults = time.time(), collections.Counter(), 0
    with tempfile.TemporaryDirectory() as temporary:
        scenes: dict[str, Scene] = {}
        for index in range(args.n) if args.case is None else [args.case]:
            if time.time() - begun > 60 * args.minutes:
                break
            rng = random.Random(f"{args.seed}:{index}")
            kind = rng.choices(args.kinds, [KINDS[kind] for kind in args.kinds])[0]
            if kind not in scenes:
                scene = scenes[kind] = MAKERS[kind](Path(temporary) / kind)
                output, at = Path(temporary) / f"{kind}_whole", time.time()
                complaint = finish(scene.begin(output))
                if complaint:
                    print(f"{kind}: cannot be run at all: {complaint}")
                    return 2
                scene.seconds, scene.expected = time.time() - at, scene.look(output)
            output = Path(temporary) / f"case{index}"
            try:
                fault = run_case(scenes[kind], output, rng)
            except Exception as error:  # files that cannot be read are a fault, too
                fault = repr(error)
            counts[kind] += 1
            if fault:
                n_faults += 1
                print(f"case {index} ({kind}): {fault}", flush=True)
            shutil.rmtree(output, ignore_errors=True)
    words = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    print(f"{sum(counts.values())} cases ({words}), seed {args.seed}: {n_faults} faults, {time.time() - begun:.0f} s")
    return 1 if n_faults else 0


if __name__ == "__main__":
    sys.exit(main())
