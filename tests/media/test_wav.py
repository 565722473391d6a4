"""WAV, RF64 and W64 files are read by what is there, and a wrong header is told."""

import io
import struct

import numpy as np
import pytest

from emotion.media.reading import iterate_media, probe_media
from emotion.media.streams import Damage
from emotion.media.wav import W64_RIFF, W64_TAIL, MendedFile, read_wav_length

RATE = 16000
OPEN = 2**32 - 1
SOUND = np.random.default_rng(0).integers(-9000, 9000, RATE).astype("<i2")
DATA = SOUND.tobytes()
FORMAT = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)


def riff(length: int, data: bytes = DATA) -> bytes:
    head = b"WAVEfmt " + struct.pack("<I", 16) + FORMAT + b"data" + struct.pack("<I", length)
    return b"RIFF" + struct.pack("<I", min(OPEN, length + 36)) + head + data


def rf64(length: int) -> bytes:
    sizes = struct.pack("<IqqqI", 28, len(DATA) + 72, length, len(SOUND), 0)
    head = b"WAVEds64" + sizes + b"fmt " + struct.pack("<I", 16) + FORMAT + b"data" + struct.pack("<I", OPEN)
    return b"RF64" + struct.pack("<I", OPEN) + head + DATA


def w64(length: int) -> bytes:
    size = 104 + len(DATA) if length > 0 else length
    form = b"fmt " + W64_TAIL + struct.pack("<q", 40) + FORMAT
    return W64_RIFF + struct.pack("<q", size) + b"wave" + W64_TAIL + form + b"data" + W64_TAIL + struct.pack(
        "<q", length
    ) + DATA  # fmt: skip


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body


FILES = {
    "whole": riff(len(DATA)),
    "open": riff(OPEN),
    "zero": riff(0),
    "sox": riff(0x7FFFFFFF - 36),
    "chunks": riff(len(DATA), DATA + chunk(b"LIST", b"INFO")),
    "tag": riff(len(DATA), DATA + b"TAG" + bytes(125)),
    "padded": riff(len(DATA), DATA + bytes(3000)),
    "rf64": rf64(len(DATA)),
    "rf64_open": rf64(-1),
    "rf64_zero": rf64(0),
    "w64": w64(24 + len(DATA)),
    "w64_open": w64(-1),
    "w64_zero": w64(0),
}
UNDERSTATED = {"riff": riff(4000), "rf64": rf64(4000), "w64": w64(4024)}


def read(path):
    damage = Damage(path, is_silent=True)
    samples = np.concatenate([item.samples for item in iterate_media(path, sample_rate=RATE, damage=damage)])
    return samples, damage


@pytest.mark.parametrize("name", FILES)
def test_files_without_lengths_are_whole_and_nothing_behind_the_sound_is_sound(tmp_path, name):
    path = tmp_path / f"{name}.wav"
    path.write_bytes(FILES[name])
    samples, damage = read(path)
    np.testing.assert_allclose(samples, SOUND / 32768, atol=1e-4)
    assert damage.count == 0
    info = probe_media(path)
    assert info.notes == () and info.duration_seconds == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("kind", UNDERSTATED)
def test_more_sound_than_the_header_says_is_read_and_told(tmp_path, kind):
    path = tmp_path / "clip.wav"
    path.write_bytes(UNDERSTATED[kind])
    samples, damage = read(path)
    np.testing.assert_allclose(samples, SOUND / 32768, atol=1e-4)
    assert damage.count == 0
    assert probe_media(path).notes == (
        "its header says 0.12 s of sound, but it holds 1.00 s; all of it was judged",
    )  # fmt: skip


def test_less_sound_than_the_header_says_is_damage(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(riff(len(DATA))[: -len(DATA) // 2])
    samples, damage = read(path)
    assert len(samples) == RATE // 2
    assert damage.words == " (it ends after 0.5 of 1.0 seconds)"


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF....WAVE", riff(0, b""), riff(4000)[:30], w64(0)[:60]])
def test_headers_that_say_nothing_are_left_alone(tmp_path, content):
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    with open(path, "rb") as file:
        assert read_wav_length(file) is None


def test_a_mended_file_differs_in_some_bytes_only(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(20)))
    with MendedFile(path, ((3, b"abc"), (18, b"z"))) as file:
        assert file.read(5) == bytes([0, 1, 2]) + b"ab"
        assert file.read(2) == b"c" + bytes([6])
        file.seek(16)
        assert file.read() == bytes([16, 17]) + b"z" + bytes([19])


class CountingFile(io.FileIO):
    n_read = 0

    def read(self, size=-1):
        data = super().read(size)
        self.n_read += len(data)
        return data


def test_silence_from_a_pipe_is_sound_and_its_header_alone_is_read(tmp_path):
    path = tmp_path / "pipe.wav"
    path.write_bytes(riff(OPEN, bytes(2 * RATE)))
    with CountingFile(path) as file:
        length = read_wav_length(file)
    assert (length.stated_seconds, length.held_seconds) == (None, 1.0)
    assert file.n_read < 200
    samples, damage = read(path)
    assert len(samples) == RATE and not damage.count


def test_sound_that_begins_with_letters_is_no_chunk(tmp_path):
    path = tmp_path / "pipe.wav"
    path.write_bytes(riff(OPEN, b"ABCDEFGH" + DATA[8:]))
    assert len(read(path)[0]) == RATE
    path.write_bytes(riff(4000, DATA[:4000] + b"ABCDEFGH" + DATA[4008:]))
    assert len(read(path)[0]) == RATE
