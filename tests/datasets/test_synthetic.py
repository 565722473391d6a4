"""The synthetic data set: repeatable, named like RAVDESS, and with emotions that can be told apart."""

import hashlib
from pathlib import Path

import av
import cv2
import librosa
import numpy as np
import pytest
import soundfile
from recording import Recorder
from scipy.signal import find_peaks

from emotion.datasets import ravdess
from emotion.datasets.synthetic.clips import draw_clip, write_synthetic_dataset
from emotion.datasets.synthetic.faces import draw_face
from emotion.datasets.synthetic.voices import compute_mouth_opening, synthesize_voice
from emotion.errors import ConfigError
from emotion.inputs.faces.crops import crop_face
from emotion.inputs.faces.detection import YuNetDetector
from emotion.labels import EIGHT_EMOTIONS

pytestmark = pytest.mark.usefixtures("compiled_librosa")

SPEAKERS = (1, 2, 5, 6)
SAMPLE_RATE = 22050
SMALL = {"emotions": ("happy", "sad"), "n_speakers": 2, "n_repetitions": 1, "duration_seconds": 0.8, "image_size": 128}


def file_names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def level_db(waveform: np.ndarray) -> float:
    return 10 * np.log10(np.mean(waveform**2))


def median_pitch(waveform: np.ndarray) -> float:
    """Median pitch in Hz over the loud steps."""
    pitch = librosa.yin(waveform, fmin=60, fmax=500, sr=SAMPLE_RATE)
    loudness = librosa.feature.rms(y=waveform)[0]
    return float(np.median(pitch[loudness > 0.3 * loudness.max()]))


def syllable_rate(waveform: np.ndarray) -> float:
    """Humps of the loudness a second, ripples left out."""
    times = np.arange(0, len(waveform) / SAMPLE_RATE, 0.01)
    smooth = np.convolve(compute_mouth_opening(waveform, SAMPLE_RATE, times), np.hanning(9) / 4, "same")
    return len(find_peaks(smooth, prominence=0.1)[0]) * SAMPLE_RATE / len(waveform)


def voices(emotion: str, **options) -> list[np.ndarray]:
    return [synthesize_voice(emotion, speaker_seed=speaker, **options) for speaker in SPEAKERS]


@pytest.fixture(scope="module")
def paired(tmp_path_factory) -> Path:
    return write_synthetic_dataset(tmp_path_factory.mktemp("paired"), **SMALL)


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path):
    def digests(folder: str, seed: int) -> dict[str, str]:
        options = {**SMALL, "n_speakers": 1, "emotions": ("happy",)}
        root = write_synthetic_dataset(tmp_path / folder, seed=seed, **options)
        return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in file_names(root)}

    first = digests("first", 0)
    assert digests("again", 0) == first
    other = digests("other", 1)
    assert other.keys() == first.keys()
    assert all(other[name] != first[name] for name in first)


def test_the_paired_layout_has_a_folder_of_videos_and_one_of_sounds(paired):
    recordings = [f"01-{code}-01-01-01-{actor}" for code in ("03", "04") for actor in ("01", "02")]
    expected = [f"videos/Actor_{name[-2:]}/01-{name}.mp4" for name in recordings]
    expected += [f"audios/Actor_{name[-2:]}/03-{name}.wav" for name in recordings]
    assert file_names(paired) == sorted(expected)


def test_the_downloaded_layout_has_the_folders_of_the_zip_files(tmp_path):
    root = write_synthetic_dataset(tmp_path, layout="downloaded", **{**SMALL, "n_speakers": 1})
    assert file_names(root) == [
        "Audio_Speech_Actors_01-24/Actor_01/03-01-03-01-01-01-01.wav",
        "Audio_Speech_Actors_01-24/Actor_01/03-01-04-01-01-01-01.wav",
        "Video_Speech_Actor_01/Actor_01/01-01-03-01-01-01-01.mp4",
        "Video_Speech_Actor_01/Actor_01/01-01-04-01-01-01-01.mp4",
    ]


def test_sound_only_and_silent_trees_hold_nothing_else(tmp_path):
    options = {**SMALL, "n_speakers": 1, "emotions": ("angry",)}
    sound = write_synthetic_dataset(tmp_path / "sound", with_video=False, **options)
    assert file_names(sound) == ["audios/Actor_01/03-01-05-01-01-01-01.wav"]
    silent = write_synthetic_dataset(tmp_path / "silent", with_audio=False, **options)
    assert file_names(silent) == ["videos/Actor_01/02-01-05-01-01-01-01.mp4"]
    with av.open(str(silent / file_names(silent)[0])) as container:
        assert not container.streams.audio


def test_the_ravdess_loader_reads_every_recording_as_one_clip(tmp_path):
    root = write_synthetic_dataset(
        tmp_path, n_speakers=2, n_repetitions=4, duration_seconds=0.5, with_video=False, sample_rate=16000
    )
    clips = ravdess.load(root)
    assert len(clips) == 2 * 4 * len(EIGHT_EMOTIONS)
    assert {clip.emotion for clip in clips} == set(EIGHT_EMOTIONS)
    assert {clip.speaker for clip in clips} == {"ravdess:01", "ravdess:02"}


def test_a_clip_holds_picture_and_sound_of_the_asked_length(paired):
    name = "01-03-01-01-01-02"
    with av.open(str(paired / f"videos/Actor_02/01-{name}.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx(np.arange(12) / 15, abs=1e-3)
    assert (frames[0].width, frames[0].height) == (128, 128)
    with av.open(str(paired / f"videos/Actor_02/01-{name}.mp4")) as container:
        inside = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    beside, sample_rate = soundfile.read(paired / f"audios/Actor_02/03-{name}.wav", dtype="float32")
    assert sample_rate == SAMPLE_RATE and len(beside) == round(0.8 * SAMPLE_RATE)
    assert level_db(inside) == pytest.approx(level_db(beside), abs=1.5)


def test_the_index_of_a_clip_comes_before_its_media(paired):
    content = next(paired.rglob("*.mp4")).read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")


@pytest.mark.parametrize(
    "wrong",
    [
        {"layout": "flat"},
        {"emotions": ()},
        {"emotions": ("happy", "joy")},
        {"emotions": ("hungry",)},
        {"n_speakers": 25},
        {"n_repetitions": 0},
        {"image_size": 101},
        {"frame_rate": 0},
        {"duration_seconds": 0.1},
        {"with_audio": False, "with_video": False},
    ],
)
def test_impossible_settings_are_refused(tmp_path, wrong):
    with pytest.raises(ConfigError):
        write_synthetic_dataset(tmp_path, **wrong)


def test_progress_counts_up_to_all_recordings(tmp_path):
    seen = []
    write_synthetic_dataset(tmp_path, with_video=False, reporter=Recorder(done=seen), **SMALL)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("sample_rate", [8000, 16000, 22050, 44100])
def test_a_voice_is_mono_float32_of_the_exact_length_and_never_clips(sample_rate):
    waveform = synthesize_voice("angry", speaker_seed=3, duration_seconds=1.23, sample_rate=sample_rate)
    assert waveform.shape == (round(1.23 * sample_rate),)
    assert waveform.dtype == np.float32
    assert 0.2 < np.abs(waveform).max() < 1


def test_a_voice_is_repeatable_and_varies_with_seed_and_speaker():
    first = synthesize_voice("happy", speaker_seed=1, seed=4)
    np.testing.assert_array_equal(first, synthesize_voice("joy", speaker_seed=1, seed=4))
    assert not np.array_equal(first, synthesize_voice("happy", speaker_seed=1, seed=5))
    assert not np.array_equal(first, synthesize_voice("happy", speaker_seed=2, seed=4))


def test_anger_is_louder_and_sadness_quieter_than_a_neutral_voice():
    for angry, neutral, sad in zip(voices("angry"), voices("neutral"), voices("sad"), strict=True):
        assert level_db(angry) > level_db(neutral) + 3
        assert level_db(sad) < level_db(neutral) - 3


def test_happy_and_fearful_voices_are_higher_and_sad_ones_lower_than_neutral():
    for neutral, happy, fearful, sad in zip(
        voices("neutral"), voices("happy"), voices("fearful"), voices("sad"), strict=True
    ):
        assert median_pitch(happy) > 1.15 * median_pitch(neutral)
        assert median_pitch(fearful) > 1.3 * median_pitch(neutral)
        assert median_pitch(sad) < 0.95 * median_pitch(neutral)


def test_sad_voices_are_slower_than_angry_ones():
    for sad, angry in zip(voices("sad", duration_seconds=4.0), voices("angry", duration_seconds=4.0), strict=True):
        assert syllable_rate(angry) > 1.3 * syllable_rate(sad)


def test_women_speak_higher_than_men():
    men = [median_pitch(synthesize_voice("neutral", speaker_seed=speaker)) for speaker in (1, 3, 5)]
    women = [median_pitch(synthesize_voice("neutral", speaker_seed=speaker)) for speaker in (2, 4, 6)]
    assert min(women) > max(men)


def test_the_mouth_opens_with_the_voice():
    voice = np.concatenate([np.zeros(11025), np.full(11025, 0.5)]).astype(np.float32)
    assert compute_mouth_opening(voice, SAMPLE_RATE, np.array([0.2, 0.75])) == pytest.approx([0, 1], abs=0.01)
    assert compute_mouth_opening(np.zeros(11025, np.float32), SAMPLE_RATE, np.array([0.1])) == pytest.approx([0])


def test_a_face_is_found_in_drawn_pictures_of_all_emotions_and_speakers():
    detector = YuNetDetector(min_score=0.6)
    pictures = [
        draw_face(emotion, speaker_seed=speaker, strength=strength, mouth=0.5, phase=speaker, seed=speaker)
        for emotion in EIGHT_EMOTIONS
        for speaker in range(1, 9)
        for strength in (0.3, 1.0)
    ]
    assert [len(detector.detect(picture)) for picture in pictures] == [1] * len(pictures)


def test_a_closed_eye_and_a_small_picture_still_show_a_face():
    detector = YuNetDetector(min_score=0.6)
    assert len(detector.detect(draw_face("neutral", speaker_seed=2, blink=1.0))) == 1
    assert len(detector.detect(draw_face("happy", speaker_seed=1, size=96))) == 1


def test_the_emotions_of_unseen_speakers_can_be_told_from_their_aligned_faces():
    detector = YuNetDetector(min_score=0.6)

    def look(speaker: int, emotion: str) -> np.ndarray:
        picture = draw_face(emotion, speaker_seed=speaker, mouth=0.3 * (speaker % 3 > 0), phase=speaker, seed=speaker)
        crop = crop_face(picture, detector.detect(picture)[0].landmarks, 112)
        grey = cv2.resize(crop.mean(axis=2).astype(np.float32), (28, 28), interpolation=cv2.INTER_AREA)
        return ((grey - grey.mean()) / grey.std()).ravel()

    def looks(speakers: range) -> np.ndarray:
        return np.array([look(speaker, emotion) for speaker in speakers for emotion in EIGHT_EMOTIONS])

    # Ridge regression onto the eight emotions, in its dual form.
    known, unseen = looks(range(1, 13)), looks(range(13, 19))
    truth = np.tile(np.eye(8), (12, 1))
    dual = np.linalg.solve(known @ known.T + 30.0 * np.eye(len(known)), truth)
    told = (unseen @ known.T @ dual).argmax(axis=1)
    accuracy = np.mean(told == np.tile(np.arange(8), 6))
    assert accuracy > 0.75  # chance is 0.125


def test_a_drawn_clip_grows_from_rest_to_the_emotion():
    times, closed = np.arange(15) / 10, np.zeros(15)
    frames = draw_clip("surprised", times, closed, speaker_seed=4, size=128)
    assert frames.shape == (15, 128, 128, 3) and frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, draw_clip("surprised", times, closed, speaker_seed=4, size=128))
    moved = np.abs(frames[1:].astype(int) - frames[:-1]).mean(axis=(1, 2, 3))
    assert (moved > 0).all()
    at_rest = draw_face("surprised", speaker_seed=4, strength=0.0, size=128)
    at_peak = draw_face("surprised", speaker_seed=4, strength=1.0, size=128)
    assert np.abs(at_rest.astype(int) - at_peak).mean() > 2
