"""Whatever it is given, inference gives the right output or one line that names the file and the way out."""

import sys

import pytest
from bad_media import CASES

import run_inference
from emotion.console import run_program
from emotion.media.pictures import VideoFrame
from emotion.media.reading import iterate_media


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_file_gives_an_answer_or_one_line(name, trained, tmp_path, monkeypatch, capfd):
    case = CASES[name]
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    path = case.make(tmp_path / "in")
    capfd.readouterr()
    monkeypatch.setattr(
        sys, "argv", ["run_inference.py", str(path), "--model", str(trained.path), "--no_plot", "--no_progress"]
    )
    try:
        code = run_program(run_inference.main)
    finally:
        if path.parent != tmp_path / "in":
            path.parent.chmod(0o700)
    out, err = capfd.readouterr()
    assert code == case.exit_code, err
    assert "Traceback" not in err
    for words in case.words:
        assert words in (err if case.exit_code else out)
    if case.exit_code:
        assert err.startswith("error: ") and err.count("\n") == 1 and str(path) in err
        assert out == ""
    else:
        assert err == ""
    written = list((tmp_path / "out").iterdir())
    assert len(written) == case.has_video
    if written:
        frames = [item for item in iterate_media(written[0], sample_rate=8000) if isinstance(item, VideoFrame)]
        times = [frame.time_seconds for frame in frames]
        assert times and times == sorted(set(times))
