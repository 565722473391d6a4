"""Every recipe of docs/cookbook.md runs as it stands."""

import re
import shutil
from pathlib import Path

import av
import cv2
import pytest

from emotion.datasets.synthetic.clips import write_synthetic_dataset
from emotion.media.reading import probe_media
from emotion.places import sample_clip

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")
RECIPES = {
    f"{number} {code.strip().splitlines()[-1][:40]}": code
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL), start=1)
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "clips").mkdir()
    for name in ("clip.mp4", "clips/1.mp4"):
        shutil.copy(sample_clip(), tmp_path / name)
    (tmp_path / "clips" / "2.mp4").write_bytes(b"nothing to see")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Camera:
    """Gives the pictures of the sample, as OpenCV does."""

    def __init__(self, number):
        with av.open(str(sample_clip())) as container:
            self._pictures = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)][:50]

    def read(self):
        return (True, self._pictures.pop(0)) if self._pictures else (False, None)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_runs(recipe, folder, monkeypatch, capsys):
    code = RECIPES[recipe].replace("epochs=30", "epochs=1")
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    if "load_dataset" in code:
        write_synthetic_dataset(folder / "dataset", emotions=("happy", "sad"), n_speakers=4, n_repetitions=1)
    exec(compile(code, recipe, "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    if "print(" in code:
        assert printed.strip()
    if "annotate" in code:
        assert probe_media("labelled.mp4").has_audio and Path("course.svg").is_file()
    if "predict_many" in code:
        assert "left out: " in printed and "happy" in printed
