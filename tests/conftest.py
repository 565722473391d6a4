"""What tests share: a small synthetic data set, a network trained on it, and calls of programs in this process."""

import functools
import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Before any test imports TensorFlow: its messages would drown the tests'.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# There is a worker for each core: more threads than one would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
# What Numba compiles for librosa, which tests compare with, it keeps in files. Two processes that make the same ones at
# once can leave some that crash whoever loads them, so each worker has its own; it would inherit that of who starts it.
os.environ["NUMBA_CACHE_DIR"] = str(
    Path(__file__).resolve().parents[1] / ".cache" / "numba" / os.environ.get("PYTEST_XDIST_WORKER", "main")
)

import pytest
from programs import call_program
from shared import make_once
from small_models import EMOTIONS, TINY_DESIGN, small_config

from emotion.datasets import DATASETS
from emotion.datasets.synthetic.clips import write_synthetic_dataset

# Tracing a network makes hundreds of thousands of objects that stay. Looking through all of them again and again for
# circles costs a tenth of the time.
gc.set_threshold(100_000, 50, 100)

# Files that take more than half a minute, longest first, so that no worker is left alone with one at the end.
LONGEST = (
    "training/test_recipes", "models/test_export_portable", "browser/test_page", "training/test_fitting",
    "inference/test_predictor", "models/test_export_onnx", "journeys/test_bad_media", "journeys/test_shipped",
    "models/test_designs", "training/test_late_fusion", "training/test_crossvalidation", "journeys/test_packaging",
    "journeys/test_evaluate", "journeys/test_programs",
)  # fmt: skip


def pytest_addoption(parser):
    parser.addoption("--thorough", action="store_true", help="run the tests marked thorough, too")


def pytest_collection_modifyitems(config, items):
    """Leaves out thorough tests unless they are asked for, and sorts the files.

    The tests in a file keep their order; ``--no-loadscope-reorder`` keeps xdist from undoing it.
    """
    if not config.getoption("--thorough"):
        thorough = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=thorough)
        items[:] = [item for item in items if item not in thorough]
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    here = Path(__file__).parent
    items.sort(key=lambda item: ranks.get(item.path.relative_to(here).with_suffix("").as_posix(), len(ranks)))


@pytest.fixture(autouse=True)
def start_from_one_seed():
    """Weights drawn and batches shuffled alike in every run, so that a test fails always or never."""
    if "keras" in sys.modules:  # tests of what runs without Keras do not load it for this
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def decode_in_this_process(monkeypatch):
    """Starting processes takes longer than decoding a few short clips. Tests that ask for two processes get two."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


@pytest.fixture
def call(monkeypatch, capsys):
    """Calls a program's ``main`` in this process: ``call(train_model, "--epochs", 1, cwd=folder)``."""
    return functools.partial(call_program, monkeypatch=monkeypatch, capsys=capsys)


@pytest.fixture
def server(monkeypatch):
    """A file server on this machine that misbehaves on request; whoever fetches from it is as impatient as a test."""
    from file_server import FileServer

    from emotion import https

    monkeypatch.setattr(https, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(https, "TIMEOUT_SECONDS", 5.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FileServer() as server:
        yield server


@pytest.fixture(scope="module")
def eagerly():
    """For the rest of a file networks compute without being traced, which costs more than a small network's epochs."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def tiny_design():
    """For a file, ``tiny_config`` names a design."""
    from emotion.models import ARCHITECTURES, Design

    ARCHITECTURES[TINY_DESIGN] = Design("tiny_design")
    yield
    del ARCHITECTURES[TINY_DESIGN]


# ---- Made once in a test session, for all workers. Tests must not change them. ----


@pytest.fixture(scope="session")
def compiled_librosa(tmp_path_factory):
    """What Numba compiles for librosa, half a minute's work, made by one worker and copied by the others."""
    own = Path(os.environ["NUMBA_CACHE_DIR"])
    if not any(own.rglob("*.nbi")):
        shutil.copytree(make_once(tmp_path_factory, "numba", _compile_librosa), own, dirs_exist_ok=True)


def _compile_librosa(folder: Path) -> Path:
    code = "import librosa, numpy; librosa.feature.mfcc(y=numpy.ones(22050))"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "NUMBA_CACHE_DIR": str(folder)}, check=True)
    return folder


@pytest.fixture(scope="session")
def dataset_dir(tmp_path_factory):
    """Four speakers, two emotions, two statements: 16 clips with face and voice, in the paired layout."""
    options = {"emotions": EMOTIONS, "n_speakers": 4, "n_repetitions": 2, "duration_seconds": 1.2}
    return make_once(tmp_path_factory, "dataset", lambda folder: write_synthetic_dataset(folder, **options))


@pytest.fixture(scope="session")
def clips(dataset_dir):
    return DATASETS["ravdess"].load(dataset_dir)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory):
    """The decoded clips of ``dataset_dir``, and of what else a test decodes into it."""
    return make_once(tmp_path_factory, "cache", lambda folder: folder)


@pytest.fixture(scope="session")
def trained(clips, cache_dir, tmp_path_factory):
    """A finished training on ``dataset_dir``: its result, with the run folder's path. Commands run it without Keras."""

    def make(folder):
        import tensorflow as tf

        from emotion.models.export_onnx import write_onnx
        from emotion.training.fitting import train

        was_eager = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)  # see ``eagerly``
        result = train(clips, small_config(), folder / "small", cache_dir=cache_dir)
        tf.config.run_functions_eagerly(was_eager)
        write_onnx(result.path)
        return result

    return make_once(tmp_path_factory, "models", make)


@pytest.fixture(scope="session")
def run_with_baseline(tmp_path_factory) -> Path:
    """The folder of a small untrained run that can compare people with themselves. Tests must not change it."""

    def make(folder: Path) -> Path:
        from baselines import CLASSES, make_head
        from small_models import write_small_run

        from emotion.models.baseline_head import write_baseline

        write_small_run(folder / "run", small_config(class_names=CLASSES))
        write_baseline(folder / "run", make_head(n_values=16, own_seconds=2.0, full_variety=1e-6))
        return folder / "run"

    return make_once(tmp_path_factory, "run_with_baseline", make)
