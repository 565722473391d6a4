"""Damages files of every kind that the program takes, and asks for an answer or one clear line each time.

python tests/fuzz/fuzz.py --n 1000 --seed 1
python tests/fuzz/fuzz.py --seed 1 --case 17

A case fails if it ends in a traceback or a crash, takes more than 60 s or 3 GB, says nothing or more than one line of
error, or leaves a file half-written. Failed cases are kept in ``.cache/fuzz``.
"""

import collections
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support"), str(ROOT / "tests/fuzz")]

import mutations  # noqa: E402
from options import parse_options  # noqa: E402

LIMIT_SECONDS, LIMIT_MB = 60, 3000
START_SECONDS = 120  # more, for the first case of a worker with a runtime
KEPT = ROOT / ".cache" / "fuzz"
SHARES = {"media": 50, "table": 14, "config": 14, "onnx": 12, "keras": 4, "splits": 6}
PARTS = {"config": "config.json", "onnx": "model.onnx", "keras": "model.keras", "splits": "splits.csv"}


class Worker:
    """A process that runs cases; started anew after one that it did not survive."""

    def __init__(self):
        self._process = None
        self._loaded: set[str] = set()  # runtimes, Keras among them, which takes long to load

    def run(self, case: dict) -> dict:
        runtime = case["words"][case["words"].index("--runtime") + 1] if "--runtime" in case["words"] else "auto"
        limit = LIMIT_SECONDS + START_SECONDS * (runtime not in self._loaded)
        self._loaded.add(runtime)
        if self._process is None:
            environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/support'}", "OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "tests/fuzz/worker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True, env=environment, cwd=case["output"],
            )  # fmt: skip
        start = time.perf_counter()
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], limit)
        answer = self._process.stdout.readline() if ready else ""
        seconds = time.perf_counter() - start
        if not answer:
            self.close()
            code = self._process.returncode
            self._process = None
            return {"fault": f"crashed with {code}" if ready else f"no end after {seconds:.0f} s"}
        return {**json.loads(answer), "seconds": seconds}

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._loaded.clear()


def make_seeds(folder: Path) -> dict[str, list[Path]]:
    """Makes the whole files that are damaged: media, tables, and a run folder."""
    import bad_media
    import soundfile
    from small_models import small_config, write_small_run

    from emotion.datasets.synthetic.voices import synthesize_voice
    from emotion.models.export_onnx import export_onnx
    from emotion.models.run_folder import load_run

    media = folder / "media"
    media.mkdir(parents=True)
    write, short = bad_media.write_media, {"seconds": 0.6, "voice_seconds": 0.6, "width": 160, "height": 120}
    for name in ("a.mp4", "b.mkv", "c.mov", "d.ts", "e.avi", "f.flv"):
        write(media / name, **short)
    write(media / "g.webm", **short, video_codec="libvpx", audio_codec="libopus", sample_rate=48000)
    voice = synthesize_voice("happy", speaker_seed=1, duration_seconds=0.8, sample_rate=16000)
    for name in ("h.wav", "i.flac", "j.ogg", "k.mp3", "l.aiff"):
        soundfile.write(media / name, voice, 16000)
    from PIL import Image

    face = Image.fromarray(bad_media.draw_picture(160, 120, 0.0))
    for name in ("m.jpg", "n.png", "o.gif", "p.webp", "q.tif", "r.bmp"):
        face.save(media / name)
    tables = folder / "tables"
    tables.mkdir()
    shutil.copy(media / "h.wav", tables / "é 1.wav")
    rows = [
        "path;emotion;speaker;start_s;end_s",
        "é 1.wav;happy;Zoë;0,1;0,5",
        '"é 1.wav";sad;"b";0,5;',
        "é 1.wav;angry;c;;",
    ]
    text = "\r\n".join(rows) + "\r\n"
    (tables / "a.csv").write_bytes(("\ufeff" + text).encode())
    (tables / "b.csv").write_bytes(("sep=;\r\n" + text).encode("cp1252"))
    (tables / "c.csv").write_bytes(text.replace(";", "\t").encode("utf-16"))
    (tables / "d.csv").write_bytes(text.replace("0,", "0.").replace(";", ",").encode())
    run = write_small_run(folder / "run", small_config())
    export_onnx(load_run(run))
    (run / "splits.csv").write_text(
        "clip_id,side,emotion,speaker,protocol,seed,sha256\na:1,train,happy,x,speaker,0,\na:2,test,sad,y,speaker,0,\n"
    )
    return {"media": sorted(media.iterdir()), "table": sorted(tables.glob("*.csv")), "run": [run]}


def make_case(kind: str, seeds: dict[str, list[Path]], rng: random.Random, place: Path) -> dict:
    """Writes a damaged file and returns how to run the program on it."""
    shutil.rmtree(place, ignore_errors=True)
    output = place / "out"
    output.mkdir(parents=True)
    infer = ["--output_dir", str(output), "--no_progress", "--json", "--overwrite"]
    run, sound = seeds["run"][0], next(path for path in seeds["media"] if path.name == "a.mp4")
    if kind == "media":
        seed = rng.choice(seeds["media"])
        file = place / seed.name
        file.write_bytes(mutations.damage(seed.read_bytes(), rng))
        words = [str(file), "--model", str(run), "--no_plot", *infer]
        return {"program": "emotion.infer", "words": words, "output": str(output), "file": str(file)}
    if kind == "table":
        seed = rng.choice(seeds["table"])
        file = place / seed.name
        file.write_bytes(mutations.damage(seed.read_bytes(), rng))
        shutil.copy(seed.parent / "é 1.wav", place)
        words = ["check", str(file), "--no_progress", "--json", str(output / "report.json")]
        return {"program": "emotion.datasets.__main__", "words": words, "output": str(output), "file": str(file)}
    copy = place / "run"
    shutil.copytree(run, copy)
    file = copy / PARTS[kind]
    ways = {"config": mutations.damage_json, "keras": mutations.damage_zip, "onnx": mutations.damage_graph}
    way = ways.get(kind, mutations.damage)
    file.write_bytes(way(file.read_bytes(), rng))
    if kind == "onnx":
        from emotion.models.onnx_runtime import write_hash

        write_hash(file, file)
    runtime = {"keras": "keras", "onnx": "onnx"}.get(kind, "auto")
    words = [str(sound), "--model", str(copy), "--no_video", "--no_plot", "--runtime", runtime, *infer]
    return {"program": "emotion.infer", "words": words, "output": str(output), "file": str(file)}


def find_fault(answer: dict) -> str | None:
    """Returns what is wrong with how a case ended."""
    if answer.get("fault"):
        return answer["fault"]
    said, code = answer["err"] + answer["out"], answer["code"]
    n_errors = sum(line.startswith("error: ") for line in answer["err"].splitlines())
    faults = {
        f"a traceback: {said[-1500:]}": "Traceback" in said or "a bug in this program" in said,
        f"exit code {code}": code not in (0, 1, 2, 3),
        f"exit code {code} with {n_errors} lines of error: {said[-500:]}": code in (1, 2) and n_errors != 1,
        "says nothing": not said.strip(),
        f"half-written: {answer['left']}": bool(answer["left"]),
        f"{answer['peak_mb']:.0f} MB": answer["peak_mb"] > LIMIT_MB,
    }
    return next((words for words, is_so in faults.items() if is_so), None)


def main() -> int:
    args = parse_options(__doc__, SHARES, n=1000)
    start, counts, faults, slowest, largest = time.time(), collections.Counter(), [], 0.0, 0.0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seeds, worker = make_seeds(folder / "seeds"), Worker()
        for index in range(args.n) if args.case is None else [args.case]:
            if time.time() - start > 60 * args.minutes:
                break
            rng = random.Random(f"{args.seed}:{index}")
            kind = rng.choices(args.kinds, [SHARES[kind] for kind in args.kinds])[0]
            case = make_case(kind, seeds, rng, folder / "case")
            answer = worker.run(case)
            fault = find_fault(answer)
            slowest, largest = max(slowest, answer.get("seconds", 0)), max(largest, answer.get("peak_mb", 0))
            outcome = "fault" if fault else "answer" if answer["code"] == 0 else "clear error"
            counts[kind, outcome] += 1
            if args.case is not None:
                print(json.dumps({**case, **answer}, indent=1))
            if fault:
                faults.append((index, kind, fault))
                (KEPT / f"{args.seed}-{index}").mkdir(parents=True, exist_ok=True)
                shutil.copy(case["file"], KEPT / f"{args.seed}-{index}")
                print(f"case {index} ({kind}, {Path(case['file']).name}): {fault}", flush=True)
        worker.close()
    for (kind, outcome), count in sorted(counts.items()):
        print(f"{kind:<8} {outcome:<12} {count:>5}")
    print(
        f"{sum(counts.values())} cases, seed {args.seed}: {len(faults)} faults; slowest {slowest:.0f} s, "
        f"largest {largest:.0f} MB, {time.time() - start:.0f} s in all"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
