"""What is missing in a file is told, and nothing is told of a whole one, whoever wrote it."""

import struct
from pathlib import Path

import av
import media_files as make
import numpy as np
import pytest
import soundfile
from PIL import Image

from emotion.media import mp3
from emotion.media.opening import describe_beheaded
from emotion.media.reading import iterate_media, probe_media
from emotion.media.streams import Damage

RATE = 44_100
SECONDS = 3.0
# By name: the codec, and options of the container.
ENCODERS = {
    "a.flac": ("flac", {}),
    "xing.mp3": ("libmp3lame", {}),
    "plain.mp3": ("libmp3lame", {"write_xing": "0", "id3v2_version": "0"}),
    "layer2.mp2": ("mp2", {}),
    "opus.ogg": ("libopus", {}),
    "a.mka": ("aac", {}),
    "a.webm": ("libopus", {}),
    "live.webm": ("libopus", {"live": "1"}),
    "a.aiff": ("pcm_s16be", {}),
    "a.au": ("pcm_s16be", {}),
}
SOUNDFILE = {"sf.flac": {}, "vorbis.ogg": {}, "sf.mp3": {}, "constant.mp3": {"bitrate_mode": "CONSTANT"}}
WITHOUT_HOLES = ("a.aiff", "a.au")  # zeros are silence there


def _noise(seconds: float = SECONDS) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.3, 0.3, round(seconds * RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Whole files of noise, which no codec shrinks to nothing."""
    folder = tmp_path_factory.mktemp("whole")
    for name, (codec, options) in ENCODERS.items():
        rate = 48_000 if codec == "libopus" else RATE
        with av.open(str(folder / name), "w", options=options) as output:
            stream = output.add_stream(codec, rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(_noise()[None], "flt", "mono")
            frame.sample_rate = RATE
            for each in av.AudioResampler(stream.format, "mono", rate, stream.frame_size or 1024).resample(frame):
                output.mux(stream.encode(each))
            output.mux(stream.encode(None))
    for name, options in SOUNDFILE.items():
        soundfile.write(folder / name, _noise(), RATE, **options)
    return folder


def _read(path: Path) -> Damage:
    damage = Damage(path, is_silent=True)
    for _ in iterate_media(path, sample_rate=16_000, damage=damage):
        pass
    return damage


def _write(path: Path, *contents: bytes) -> Path:
    path.write_bytes(b"".join(contents))
    return path


@pytest.mark.parametrize("name", [*ENCODERS, *SOUNDFILE])
def test_files_that_broke_off_or_have_a_hole_are_told_and_whole_ones_are_not(folder, tmp_path, name):
    whole = (folder / name).read_bytes()
    assert (_read(folder / name).words, _read(folder / name).doubt) == ("", "")
    assert _read(_write(tmp_path / name, whole[: len(whole) * 3 // 5 - 7])).count
    if name not in WITHOUT_HOLES:
        middle, n = len(whole) // 2, min(4096, len(whole) // 8)
        assert _read(_write(tmp_path / name, whole[:middle], bytes(n), whole[middle + n :])).count
        assert _read(_write(tmp_path / name, whole[:middle], whole[middle + n :])).count


def test_what_is_missing_is_told_in_seconds_where_the_header_says_it(folder, tmp_path):
    for name in ("a.flac", "xing.mp3", "sf.mp3", "a.aiff"):
        whole = (folder / name).read_bytes()
        words = _read(_write(tmp_path / name, whole[: len(whole) // 2])).words
        assert words.startswith(" (it ends after 1.") and words.endswith("of 3.0 seconds)"), (name, words)


def _ape_tag(*, with_header: bool) -> bytes:
    item = struct.pack("<II", 2, 0) + b"TITLE\0ab"

    def mark(flags: int) -> bytes:
        return b"APETAGEX" + struct.pack("<IIII", 2000, len(item) + 32, 1, flags) + bytes(8)

    return (mark(0xA0000000) if with_header else b"") + item + mark(0x80000000 if with_header else 0)


def test_tags_and_padding_and_several_recordings_in_an_mp3_are_no_damage(folder, tmp_path):
    xing, plain = ((folder / f"{name}.mp3").read_bytes() for name in ("xing", "plain"))
    id3v1 = b"TAG" + bytes(125)
    for contents in (
        (xing, _ape_tag(with_header=True)),
        (xing, _ape_tag(with_header=True), id3v1),
        (plain, _ape_tag(with_header=False)),
        (plain, bytes(2000)),
        (xing, id3v1, xing, plain, xing),
    ):
        damage = _read(_write(tmp_path / "a.mp3", *contents))
        assert damage.words == "", contents


def test_an_mp3_taken_from_a_running_stream_may_begin_and_end_anywhere(folder, tmp_path):
    plain = (folder / "plain.mp3").read_bytes()
    assert not _read(_write(tmp_path / "radio.mp3", plain[5000:-150])).count
    assert _read(_write(tmp_path / "radio.mp3", plain[5000:15_000], plain[18_000:])).count


def test_lengths_of_frames_are_those_of_the_standard():
    for head, length, seconds in (
        (b"\xff\xfb\x90\x00", 417, 1152 / 44_100),  # MPEG-1, layer III, 128 kbit/s, 44.1 kHz
        (b"\xff\xfb\x92\x00", 418, 1152 / 44_100),  # with padding
        (b"\xff\xf3\x80\x00", 208, 576 / 22_050),  # MPEG-2, layer III, 64 kbit/s, 22.05 kHz
        (b"\xff\xe3\x18\x00", 72, 576 / 8000),  # MPEG-2.5, layer III, 8 kbit/s, 8 kHz
        (b"\xff\xfd\xa4\x00", 576, 1152 / 48_000),  # MPEG-1, layer II, 192 kbit/s, 48 kHz
        (b"\xff\xff\x90\x00", 312, 384 / 44_100),  # MPEG-1, layer I, 288 kbit/s, 44.1 kHz
    ):
        frame = mp3._read_frame(head, 0)
        assert (frame.length, frame.seconds) == (length, seconds), head
    for none in (b"\xff\xfb\x00\x00", b"\xff\xfb\xf0\x00", b"\xff\xeb\x90\x00", b"\xff\xf9\x90\x00", b"ID3\x03"):
        assert mp3._read_frame(none, 0) is None, none


def test_ogg_in_a_chain_is_whole_and_one_whose_end_is_not_marked_is_doubtful(folder, tmp_path):
    vorbis = (folder / "vorbis.ogg").read_bytes()
    damage = _read(_write(tmp_path / "chain.ogg", vorbis, vorbis))
    assert (damage.words, damage.doubt) == ("", "")
    damage = _read(_write(tmp_path / "last.ogg", vorbis[: vorbis.rfind(b"OggS")]))
    assert not damage.count
    assert "may be cut off" in damage.doubt


@pytest.fixture
def animation(tmp_path) -> Path:
    pictures = [Image.fromarray(make.make_picture(time, 120, 90)) for time in (0.0, 0.3, 0.6, 0.9)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=300)
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:], duration=300)
    return tmp_path


@pytest.mark.parametrize("name", ["a.gif", "a.png"])
def test_half_an_animation_is_told(animation, name):
    assert not _read(animation / name).count
    whole = (animation / name).read_bytes()
    for share in (0.6, 0.98):
        assert _read(_write(animation / name, whole[: int(len(whole) * share)])).count


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.png", {}), ("a.tif", {}), ("lzw.tif", {"compression": "tiff_lzw"}), ("a.webp", {}), ("a.bmp", {})],
)
def test_a_picture_that_cannot_be_read_is_said_to_be_cut_off_if_it_is(tmp_path, name, options):
    Image.fromarray(make.make_picture(0.0, 120, 90)).save(tmp_path / name, **options)
    whole = (tmp_path / name).read_bytes()
    assert not _read(tmp_path / name).count
    with pytest.raises(Exception, match="the picture is cut off") as caught:
        _read(_write(tmp_path / name, whole[: len(whole) // 2]))
    assert "codec" not in str(caught.value)


def test_a_picture_with_a_hole_is_said_to_be_damaged(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    middle = len(whole) // 2
    with pytest.raises(Exception, match="the picture is damaged"):
        _read(_write(tmp_path / "a.png", whole[:middle], bytes(100), whole[middle + 100 :]))


def test_a_video_without_its_beginning_is_not_called_a_stream_of_a_strange_codec(tmp_path):
    make.make_clip(tmp_path / "a.avi", seconds=2, video_codec="mpeg4", audio_codec="libmp3lame")
    whole = (tmp_path / "a.avi").read_bytes()
    _write(tmp_path / "a.avi", whole[len(whole) // 3 :])
    assert any("its beginning is missing" in note for note in probe_media(tmp_path / "a.avi").notes)
    assert describe_beheaded("clip.mkv", "vvc").startswith("its beginning is missing")
    assert describe_beheaded("clip.h264", "h264") is None
    assert describe_beheaded("clip.mkv", "matroska,webm") is None
