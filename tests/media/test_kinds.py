"""Which files are media: one list for every command, content where a name says nothing, and never a list of others."""

import os
import shutil
import threading

import av
import media_files
import numpy as np
import pytest
import soundfile
from PIL import Image
from refusals import refused

from emotion.errors import MediaError
from emotion.media.formats import OPTIONS
from emotion.media.kinds import kind_of
from emotion.media.reading import VideoFrame, iterate_media, probe_media
from emotion.media.suffixes import kind_by_name
from emotion.media.writing import is_annotated


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ("a.mp4 IMG_0001.MOV x.3g2 x.dav x.f4v x.asf raw.hevc x.mts", "video"),
        ("a.amr a.opus book.m4b x.caf x.spx x.au x.aiff", "audio"),
        ("s.JPG s.heic s.avif s.jfif", "image"),
        ("notes.txt table.csv model.keras a", None),
    ],
)
def test_names_tell_the_kind_alike_in_every_command(names, kind):
    assert {name: kind_by_name(name) for name in names.split()} == dict.fromkeys(names.split(), kind)


@pytest.mark.parametrize("name", ["clip", "clip.dat", "clip.mp4_backup"])
def test_where_the_name_says_nothing_the_content_does(tmp_path, name):
    made = {
        "video": media_files.make_clip(tmp_path / "v.mp4", seconds=0.5),
        "image": tmp_path / "i.png",
        "audio": tmp_path / "s.wav",
    }
    Image.new("RGB", (8, 8)).save(made["image"])
    soundfile.write(made["audio"], np.zeros(8000), 16000)
    for kind, path in made.items():
        shutil.copy(path, tmp_path / name)
        assert kind_of(tmp_path / name) == kind
    for text in (b"", b"hello", b"BMW and other cars", b"RIFF of a guitar"):
        (tmp_path / name).write_bytes(text)
        assert kind_of(tmp_path / name) is None


def test_an_unfinished_download_is_no_media_whatever_it_begins_with(tmp_path):
    path = media_files.make_clip(tmp_path / "v.mp4", seconds=0.5)
    assert kind_of(path.rename(tmp_path / "v.mp4.part")) is None


def test_all_the_formats_named_are_known_to_ffmpeg():
    known = {name for name in av.formats_available if av.ContainerFormat(name).is_input}
    assert len(set(OPTIONS["format_whitelist"].split(",")) & known) > 100
    assert not {"hls", "concat", "dash", "sdp", "image2pipe", "svg_pipe", "lavfi"} & set(
        OPTIONS["format_whitelist"].split(",")
    )


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:{other}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{other}'\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{other}</BaseURL></MPD>',
    ],
)
def test_a_list_of_other_files_opens_none_of_them(tmp_path, text):
    """They would wait for a named pipe for ever."""
    os.mkfifo(tmp_path / "pipe.ts")
    answers = []

    def look(path):
        with refused(MediaError, path):
            probe_media(path)
        answers.append(is_annotated(path))

    for name in ("list.m3u8", "list.mp4"):
        path = tmp_path / name
        path.write_text(text.format(other="pipe.ts"))
        thread = threading.Thread(target=look, args=(path,), daemon=True)
        thread.start()
        thread.join(20)
    assert answers == [False, False]


@pytest.mark.parametrize("name", ["img%03d.jpg", "a*.jpg", "q?.jpg", "x[1].jpg"])
def test_a_picture_whose_name_looks_like_a_pattern_is_that_picture(tmp_path, name):
    for other in ("img001.jpg", "ab.jpg", "q1.jpg", "x1.jpg"):
        Image.new("RGB", (32, 32), (255, 255, 255)).save(tmp_path / other)
    Image.new("RGB", (32, 32)).save(tmp_path / name)
    (frame,) = (item for item in iterate_media(tmp_path / name, sample_rate=16000) if isinstance(item, VideoFrame))
    assert np.asarray(frame.image).mean() < 5
