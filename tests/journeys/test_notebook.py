"""demo.ipynb runs from the first cell to the last, and shows what it promises."""

import json
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from emotion.places import project_dir


def run_notebook(folder: Path, clip: str):
    """Executes the notebook as it is, in a folder that holds the project, on another clip if one is named."""
    for name in ("run_inference.py", "emotion", "saved_models", "samples"):
        (folder / name).symlink_to(project_dir() / name)
    notebook = nbformat.read(project_dir() / "demo.ipynb", as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        cell.source = cell.source.replace("samples/astronaut.mp4", clip)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return notebook


def outputs_of(notebook) -> list[dict]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_the_notebook_judges_the_sample_and_shows_plots_and_a_playable_video(tmp_path):
    notebook = run_notebook(tmp_path, "samples/astronaut.mp4")
    outputs = outputs_of(notebook)
    assert not [output for output in outputs if output.output_type == "error"]
    text = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    assert "happy" in text and "face 1" in text and "voice" in text
    data = [output.data for output in outputs if "data" in output]
    assert sum("<svg" in each.get("text/html", "") for each in data) == 1  # the card
    assert sum("image/png" in each for each in data) == 2  # the faces and the plot
    videos = [each["text/html"] for each in data if "<video" in each.get("text/html", "")]
    assert len(videos) == 1 and re.search(r'src="data:video/mp4;base64,[\w+/]{1000}', videos[0])
    written = {path.name for path in (tmp_path / "emotion_results").iterdir()}
    assert written == {f"astronaut_emotion{end}" for end in (".mp4", ".json", ".csv", "_plot.png")}
    result = json.loads((tmp_path / "emotion_results" / "astronaut_emotion.json").read_text(encoding="utf-8"))
    assert result["overall"]["emotion"] == "happy"


def test_the_notebook_takes_sound_alone(tmp_path):
    from media_files import make_clip

    make_clip(tmp_path / "sound.m4a", video_codec=None, seconds=2, container="mp4")
    notebook = run_notebook(tmp_path, "sound.m4a")
    assert "no picture to draw on" in json.dumps(outputs_of(notebook))


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(project_dir() / "demo.ipynb", as_version=4)
    assert not outputs_of(notebook)
