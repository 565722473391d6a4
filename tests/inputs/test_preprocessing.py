"""From media to windows: frames on a grid, sound by time, and nothing made up where there is no evidence."""

import media_files as make
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from emotion.config import AudioConfig, RunConfig, VideoConfig, WindowConfig
from emotion.datasets.synthetic.clips import draw_clip, write_clip
from emotion.datasets.synthetic.faces import draw_face
from emotion.errors import MediaError
from emotion.inputs.faces.detection import YuNetDetector
from emotion.inputs.frame_sampler import WHOLE_FRAME, FrameSampler
from emotion.inputs.preprocessing import Preprocessor, SoundBuffer, cut_samples, load_clip_media
from emotion.inputs.window_cutter import WindowCutter
from emotion.media.pictures import VideoFrame
from emotion.media.reading import AudioChunk, iterate_media
from emotion.media.recordings import Recording
from emotion.parallel import Stages

properties = settings(max_examples=100, deadline=None, derandomize=True, database=None)

FACES = RunConfig(video=VideoConfig(image_size=48))
FRAMES = RunConfig(video=VideoConfig(image_size=16, crop="frame"))
INTERVAL = FRAMES.frame_interval_seconds
RATE = FACES.audio.sample_rate


# ---- Frames on the grid ----


def sample(times, config: RunConfig = FRAMES, images=None) -> tuple[FrameSampler, list]:
    """Passes frames into a sampler, shown for 0.08 s each; unless images are given, frame i is all of grey level i."""
    sampler = FrameSampler(config)
    images = images or [np.full((24, 32, 3), i, np.uint8) for i in range(len(times))]
    frames = [VideoFrame(time, image, 0.08) for time, image in zip(times, images, strict=True)]
    crops = [crop for frame in frames for crop in sampler.add(frame)]
    return sampler, crops


def shown_times(crops, times) -> dict[int, float]:
    """The time of the frame that shows each moment."""
    return {crop.moment: times[int(crop.crop[0, 0, 0])] for crop in crops}


@pytest.mark.parametrize("frame_rate", [12.5, 15.0, 24000 / 1001, 30.0, 50.0])
def test_every_moment_is_shown_by_the_first_frame_at_or_after_it(frame_rate):
    times = [i / frame_rate for i in range(int(3 * frame_rate))]
    sampler, crops = sample(times)
    shown = shown_times(crops, times)
    assert sampler.moments == list(shown) == list(range(len(shown)))
    assert len(shown) >= 19
    for moment, time in shown.items():
        assert -1e-9 <= time - moment * INTERVAL < 1 / frame_rate
    assert sampler.end_seconds == pytest.approx(times[-1] + 0.08)


def test_what_is_prepared_ahead_changes_nothing():
    times = np.arange(12) / 15
    mouth = 0.5 + 0.5 * np.sin(20 * times)
    shots = [draw_clip(emotion, times, mouth, speaker_seed=seed) for seed, emotion in ((1, "happy"), (6, "sad"))]
    pictures = [*shots[0], *(255 - shots[1])]  # another shot by any measure
    answers = []
    for n_ahead in (0, 1, 5, len(pictures)):
        sampler = FrameSampler(FACES, watches_mouths=True)
        frames = [VideoFrame(i / 15, picture, 1 / 15) for i, picture in enumerate(pictures)]
        crops = []
        for number, frame in enumerate(frames):
            for near in frames[number : number + n_ahead] if number % max(1, n_ahead) == 0 else []:
                sampler.prepare(near)
            crops += sampler.add(frame)
        assert not sampler._prepared
        answers.append((crops, sampler.moments, sampler.mouths, sampler.tracks()))
    for crops, *others in answers[1:]:
        assert others == list(answers[0][1:]) and len(crops) == len(answers[0][0]) > 5
        for crop, expected in zip(crops, answers[0][0], strict=True):
            assert (crop.moment, crop.track) == (expected.moment, expected.track)
            np.testing.assert_array_equal(crop.crop, expected.crop)


def test_pictures_prepared_in_another_thread_give_what_one_thread_gives(tmp_path):
    times = np.arange(45) / 15
    faces = draw_clip("happy", times, 0.5 + 0.5 * np.sin(20 * times), speaker_seed=1)
    write_clip(tmp_path / "clip.mp4", faces, 15.0)
    answers = []
    for is_apart in (False, True):
        scanner = WindowCutter(FACES, has_audio=False)
        frames = iterate_media(tmp_path / "clip.mp4", sample_rate=RATE)
        with Stages() as stages:
            items = stages.ahead(scanner.prepare(frames)) if is_apart else frames
            answers.append(([window for stretch in scanner.cut(items) for window in stretch], scanner.sampler.tracks()))
    (expected, tracks), (windows, tracks_apart) = answers
    assert tracks == tracks_apart and len(windows) == len(expected) >= 1
    for window, other in zip(windows, expected, strict=True):
        assert window.evidence == other.evidence == "face"
        np.testing.assert_array_equal(window.inputs["video"], other.inputs["video"])


def test_frames_that_lie_on_the_grid_show_their_moments_though_floats_round():
    # 0.3 / 0.1 is a hair below 3.
    config = RunConfig(video=VideoConfig(image_size=16, crop="frame"), window=WindowConfig(window_seconds=2.0))
    times = [i / 10 for i in range(60)]
    sampler, crops = sample(times, config)
    assert sampler.moments == list(range(60))
    assert list(shown_times(crops, times).values()) == times


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param([0.0, 0.1, 0.16, 0.31, 1.0, 1.02, 1.06, 1.31],
                     {0: 0.0, 1: 0.16, 2: 0.31, 6: 1.0, 7: 1.06, 8: 1.31}, id="a gap leaves its moments out"),
        pytest.param([1.0, 1.05, 1.21], {6: 1.0, 7: 1.05, 8: 1.21}, id="a late start keeps its place"),
        pytest.param([0.0], {0: 0.0}, id="a still picture is one moment"),
    ],
)  # fmt: skip
def test_frames_keep_their_places_on_the_grid(times, expected):
    sampler, crops = sample(times)
    assert shown_times(crops, times) == expected
    assert sampler.moments == list(expected)
    assert sampler.end_seconds == pytest.approx(times[-1] + 0.08)
    assert sampler.tracks() == {}


def test_a_whole_frame_is_filed_under_no_face_and_cut_to_size():
    _, crops = sample([0.0, 0.2])
    assert {crop.track for crop in crops} == {WHOLE_FRAME}
    assert all(crop.crop.shape == (16, 16, 3) and crop.crop.dtype == np.uint8 for crop in crops)


HAPPY, SAD = draw_face("happy", speaker_seed=2, size=160), draw_face("sad", speaker_seed=1, size=160)


def difference(crop: np.ndarray, picture: np.ndarray) -> float:
    """How far a crop is from that of a picture of one face, in grey levels; its rim may show the surroundings."""
    (alone,) = (crop.crop for crop in sample([0.0], FACES, [picture])[1])
    return float(np.abs(crop.astype(int) - alone)[8:40, 8:40].mean())


def test_two_faces_are_followed_apart_and_cut_out_at_every_moment():
    two = np.hstack([HAPPY, SAD])
    times = [i / 20 for i in range(20)]
    sampler, crops = sample(times, FACES, [two] * 20)
    tracks = sampler.tracks()
    assert [track.face_id for track in tracks.values()] == [1, 2]
    assert {len(track.times_seconds) for track in tracks.values()} == {len(sampler.moments)}
    happy, sad = sorted(tracks, key=lambda number: tracks[number].boxes[0][0])
    for number, own, other in ((happy, HAPPY, SAD), (sad, SAD, HAPPY)):
        cut = [crop for crop in crops if crop.track == number]
        assert [crop.moment for crop in cut] == sampler.moments
        for crop in cut:
            assert difference(crop.crop, own) < 0.5 * difference(crop.crop, other)


def test_pictures_without_a_face_are_shown_but_give_no_crops():
    sampler, crops = sample([0.0, 0.15, 0.3], FACES, [np.full((120, 160, 3), 90, np.uint8)] * 3)
    assert crops == [] and sampler.moments == [0, 1, 2] and sampler.tracks() == {}


# ---- Sound by time ----

noise = np.random.default_rng(0).uniform(-1, 1, 400).astype(np.float32)


def fill(buffer: SoundBuffer, lengths, rate: int, start: int = 0) -> np.ndarray:
    """Adds chunks of these lengths one after another and returns the whole sound from second 0 on."""
    sound, first = noise[: sum(lengths)], 0
    for length in lengths:
        buffer.add(AudioChunk((start + first) / rate, sound[first : first + length]))
        first += length
    return np.concatenate([np.zeros(start, np.float32), sound])


@properties
@given(
    lengths=st.lists(st.integers(1, 40), max_size=10),
    start=st.integers(0, 50),
    first=st.integers(-60, 500),
    n_samples=st.integers(0, 120),
)
def test_a_cut_is_a_slice_of_the_sound_with_silence_around_it(lengths, start, first, n_samples):
    buffer = SoundBuffer(100)
    whole = fill(buffer, lengths, 100, start if lengths else 0)
    assert buffer.end == len(whole) and buffer.end_seconds == pytest.approx(len(whole) / 100)
    padded = np.concatenate([np.zeros(60, np.float32), whole if lengths else whole[:0], np.zeros(700, np.float32)])
    cut = buffer.cut(first / 100, n_samples)
    assert cut.dtype == np.float32
    np.testing.assert_array_equal(cut, padded[60 + first : 60 + first + n_samples])


def test_a_sound_that_starts_late_starts_with_silence():
    buffer = SoundBuffer(1000)
    fill(buffer, [100, 100], 1000, start=250)
    assert buffer.end == 450
    assert not buffer.cut(0.0, 250).any()
    np.testing.assert_array_equal(buffer.cut(0.25, 200), noise[:200])


@properties
@given(lengths=st.lists(st.integers(1, 40), min_size=2, max_size=10), forget=st.integers(-10, 500))
def test_what_is_forgotten_is_silence_and_the_rest_stays_in_its_place(lengths, forget):
    buffer = SoundBuffer(100)
    whole = fill(buffer, lengths[:-1], 100)
    buffer.forget_before(forget / 100)
    more = noise[200 : 200 + lengths[-1]]
    buffer.add(AudioChunk(buffer.end_seconds, more))
    expected = np.concatenate([whole, more])
    expected[: min(max(forget, 0), len(whole))] = 0
    assert buffer.end == len(expected)
    np.testing.assert_array_equal(buffer.cut(0.0, len(expected)), expected)


def test_forgetting_frees_memory():
    buffer = SoundBuffer(1000)
    fill(buffer, [100] * 4, 1000)
    buffer.forget_before(0.39)
    assert sum(chunk.nbytes if chunk.base is None else chunk.base.nbytes for chunk in buffer._chunks) == 10 * 4


@properties
@given(start=st.integers(-30, 60), n_samples=st.integers(0, 60))
def test_cutting_samples_never_takes_them_from_the_wrong_end(start, n_samples):
    samples = np.arange(1, 21, dtype=np.float32)
    expected = [samples[i] if 0 <= i < 20 else 0 for i in range(start, start + n_samples)]
    np.testing.assert_array_equal(cut_samples(samples, start, n_samples), expected)


# ---- Windows ----


def make_crops(*moments: int) -> dict[int, np.ndarray]:
    return {moment: np.full((16, 16, 3), moment + 100, np.uint8) for moment in moments}


def shown_moments(frames: np.ndarray) -> list[int]:
    assert frames.shape == (20, 16, 16, 3) and frames.dtype == np.uint8
    return [int(frame[0, 0, 0]) - 100 for frame in frames]


@pytest.mark.parametrize(
    ("moments", "first", "expected"),
    [
        pytest.param(range(40), 7, list(range(7, 27)), id="its own moments"),
        pytest.param((4, 6, 10, 11, 12, 18, 40), 5, [6] * 4 + [10, 10, 11] + [12] * 4 + [18] * 9,
                     id="a moment without a crop repeats the nearest of the window"),
    ],
)  # fmt: skip
def test_a_window_shows_the_crops_of_its_moments(moments, first, expected):
    assert shown_moments(Preprocessor(FRAMES).video_input(make_crops(*moments), first)) == expected


def test_a_short_window_shows_each_of_its_moments_as_often_as_the_others():
    window = Preprocessor(FRAMES).video_input(make_crops(*range(40)), 7, n_moments=5)
    assert shown_moments(window) == [moment for moment in range(7, 12) for _ in range(4)]
    uneven = shown_moments(Preprocessor(FRAMES).video_input(make_crops(*range(40)), 7, n_moments=7))
    assert sorted(set(uneven)) == list(range(7, 14)) and uneven == sorted(uneven)
    assert {uneven.count(moment) for moment in range(7, 14)} == {2, 3}


@pytest.mark.parametrize(("n_seen", "judged"), [(0, False), (4, False), (5, True), (20, True)])
def test_a_face_in_sight_for_less_than_a_quarter_of_the_window_is_no_evidence(n_seen, judged):
    window = Preprocessor(FRAMES).video_input(make_crops(*range(n_seen)), 0, range(60))
    assert window.any() == judged
    assert window.shape == (20, 16, 16, 3)


def test_sight_is_measured_against_the_moments_that_were_shown():
    # A clip of three moments, as short as it is, shows its face all the time; so does a still.
    preprocessor = Preprocessor(FRAMES)
    assert preprocessor.video_input(make_crops(0, 1, 2), 0, [0, 1, 2]).any()
    assert shown_moments(preprocessor.video_input(make_crops(0), 0, [0])) == [0] * 20
    assert not preprocessor.video_input(make_crops(0), 0, range(5)).any()


def test_crops_outside_the_window_do_not_count():
    assert not Preprocessor(FRAMES).video_input(make_crops(0, 1, 2, 30, 31), 5).any()
    assert not Preprocessor(FRAMES).video_input({}, 0, range(20)).any()


def test_a_windows_first_frame_is_the_moment_nearest_to_its_start():
    preprocessor = Preprocessor(FRAMES)
    assert [preprocessor.first_moment(seconds) for seconds in (0.0, 0.15, 0.5, 3.0, -0.2)] == [0, 1, 3, 20, -1]


def test_sound_becomes_a_picture_of_one_channel_and_silence_zeros():
    preprocessor = Preprocessor(FACES)
    n_samples = FACES.window_samples
    tone = (0.3 * np.sin(np.arange(n_samples) / 5)).astype(np.float32)
    picture = preprocessor.audio_input(tone)
    assert picture.shape == (40, 44, 1) and picture.dtype == np.float32 and picture.any()
    for silence in (np.zeros(n_samples, np.float32), 1e-5 * tone):
        np.testing.assert_array_equal(preprocessor.audio_input(silence), np.zeros((40, 44, 1), np.float32))


# ---- Whole clips ----

SECONDS, FRAME_RATE = 1.2, 15


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A talking face with its sound inside and beside it, silent, and with other sound beside it."""
    folder = tmp_path_factory.mktemp("clips")
    frames = [draw_face("happy", speaker_seed=2, phase=0.2 * i, size=128) for i in range(round(SECONDS * FRAME_RATE))]
    beep = make.make_sound(SECONDS, RATE)[0]
    write_clip(folder / "sound_inside.mp4", frames, FRAME_RATE, waveform=beep, sample_rate=RATE)
    write_clip(folder / "silent.mp4", frames, FRAME_RATE)
    soundfile.write(folder / "sound.wav", make.make_sound(SECONDS, RATE, beep_seconds=0.8)[0], RATE)
    return folder


def check_face(media) -> None:
    assert media.moments.tolist() == media.shown.tolist() == list(range(8))
    assert media.crops.shape == (8, 48, 48, 3) and media.crops.dtype == np.uint8
    eyes = YuNetDetector().detect(media.crops[4])[0].landmarks[:2]
    np.testing.assert_allclose(eyes, np.array([[0.31, 0.385], [0.69, 0.385]]) * 48, atol=4)
    assert list(media.crops_by_moment()) == list(range(8))


def check_no_picture(media) -> None:
    assert media.crops.shape == (0, 48, 48, 3) and media.moments.shape == media.shown.shape == (0,)
    assert media.crops_by_moment() == {}


@pytest.mark.parametrize(
    ("video", "audio", "beep", "tolerance"),
    [
        pytest.param("sound_inside.mp4", "sound.wav", 0.8, 0.005, id="sound beside, not that inside"),
        pytest.param("sound_inside.mp4", "sound_inside.mp4", make.BEEP_SECONDS, 0.01, id="sound inside"),
        pytest.param("sound_inside.mp4", None, None, None, id="sound inside that is not asked for"),
        pytest.param("silent.mp4", "silent.mp4", None, None, id="no sound though asked for"),
        pytest.param("silent.mp4", None, None, None, id="no sound"),
    ],
)
def test_picture_and_sound_come_from_the_files_given(folder, video, audio, beep, tolerance):
    media = load_clip_media(Recording(str(folder / video), audio and str(folder / audio)), FACES)
    check_face(media)
    assert media.duration_seconds == pytest.approx(SECONDS, abs=0.1 if video == "sound_inside.mp4" == audio else 0.01)
    if beep is None:
        assert media.samples.shape == (0,)
    else:
        assert media.samples.dtype == np.float32
        assert make.find_beep(media.samples, RATE) == pytest.approx(beep, abs=tolerance)
    if audio == "sound.wav":
        assert len(media.samples) == round(SECONDS * RATE)


def test_a_clip_of_sound_alone_has_no_crops(folder):
    media = load_clip_media(Recording(None, str(folder / "sound.wav")), FACES)
    check_no_picture(media)
    assert len(media.samples) == round(SECONDS * RATE)
    assert media.duration_seconds == pytest.approx(SECONDS)


def test_a_clip_in_which_nobody_is_seen_has_no_crops_but_was_shown(tmp_path):
    path = str(make.make_clip(tmp_path / "square.mp4"))
    media = load_clip_media(Recording(path, path), FACES)
    assert media.crops.shape == (0, 48, 48, 3) and media.moments.shape == (0,)
    assert media.shown.tolist() == list(range(7))
    assert len(media.samples) > 0


def test_whole_frames_need_no_face(tmp_path):
    path = str(make.make_clip(tmp_path / "square.mp4"))
    media = load_clip_media(Recording(path, None), FRAMES)
    assert media.moments.tolist() == media.shown.tolist() == list(range(7))
    assert media.crops.shape == (7, 16, 16, 3)
    # The red lower left corner that these pictures carry: nothing is cut off, and red comes first.
    red, green, blue = media.crops[0, -2, 1].astype(int)
    assert red > 150 and max(green, blue) < 90


def test_the_main_face_is_the_one_that_fills_most_of_the_picture(tmp_path):
    canvas = np.full((240, 400, 3), 110, np.uint8)
    large, small = draw_face("sad", speaker_seed=1, size=240), draw_face("happy", speaker_seed=2, size=120)
    canvas[:240, :240], canvas[60:180, 260:380] = large, small
    write_clip(tmp_path / "two.mp4", [canvas] * 8, FRAME_RATE)
    media = load_clip_media(Recording(str(tmp_path / "two.mp4"), None), FACES)
    assert len(media.crops) == 4
    assert difference(media.crops[0], large) < 0.5 * difference(media.crops[0], small)


def test_a_file_that_cannot_be_decoded_is_named(tmp_path):
    path = str(make.make_renamed_text(tmp_path / "text.mp4"))
    with refused(MediaError, path):
        load_clip_media(Recording(path, path), FACES)


def test_all_sizes_follow_from_the_configuration(folder):
    config = RunConfig(
        audio=AudioConfig(sample_rate=16000, n_mfcc=13, n_steps=20),
        video=VideoConfig(n_frames=6, image_size=32),
        window=WindowConfig(window_seconds=1.0),
    )
    path = str(folder / "sound_inside.mp4")
    media = load_clip_media(Recording(path, path), config)
    preprocessor = Preprocessor(config)
    assert preprocessor.audio_input(cut_samples(media.samples, 0, 16000)).shape == (13, 20, 1)
    assert preprocessor.video_input(media.crops_by_moment(), 0, media.shown.tolist()).shape == (6, 32, 32, 3)
