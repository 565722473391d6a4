"""A clip is a file, its bytes, pictures, sound, a part of these, many of them, or what comes as time goes by."""

import io

import numpy as np
import pytest
from PIL import Image
from small_models import small_config

from emotion.datasets.synthetic.faces import draw_face
from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.errors import ConfigError, EmotionError, InputTypeError, MediaError
from emotion.inference.predictor import EmotionPredictor
from emotion.media.reading import probe_media
from emotion.models import build_model
from emotion.models.trained_model import Run
from emotion.outputs.prediction import Prediction
from emotion.settings import InferenceSettings

RATE = 22050
FRAMES = np.stack([draw_face("happy", size=160, speaker_seed=1)] * 40)
VOICE = synthesize_voice("happy", speaker_seed=1, duration_seconds=2.0, sample_rate=RATE)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    config = small_config()
    return EmotionPredictor(Run(tmp_path_factory.mktemp("run"), config, build_model(config), sha256=""))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from emotion.datasets.synthetic.clips import write_clip

    path = tmp_path_factory.mktemp("clips") / "talk.mp4"
    write_clip(path, FRAMES, 20.0, waveform=VOICE, sample_rate=RATE)
    return path


def answers(prediction):
    return [(w.start_seconds, w.face_id, w.evidence, np.round(w.probabilities, 4).tolist()) for w in prediction.windows]


def test_bytes_and_file_objects_are_judged_like_the_file(predictor, clip):
    whole = predictor.predict(clip)
    assert whole.tracks and whole.speech and isinstance(whole, Prediction)
    with clip.open("rb") as file:
        by_file = predictor.predict(file)
    assert answers(by_file) == answers(whole) == answers(predictor.predict(clip.read_bytes()))
    assert by_file.path == "talk.mp4" and predictor.predict(io.BytesIO(clip.read_bytes())).path == "<bytes>"


def test_arrays_are_judged_like_the_file_that_holds_them(predictor, clip):
    by_arrays = predictor.predict(FRAMES, fps=20, samples=VOICE, sample_rate=RATE)
    assert [each[:3] for each in answers(by_arrays)] == [each[:3] for each in answers(predictor.predict(clip))]
    assert by_arrays.duration_seconds == pytest.approx(2.0, abs=0.01) and len(by_arrays.frame_times_seconds) == 40
    one_by_one = predictor.predict((frame for frame in FRAMES), fps=20, samples=VOICE, sample_rate=RATE)
    assert answers(one_by_one) == answers(by_arrays)
    swapped = predictor.predict(FRAMES[..., ::-1], fps=20, samples=VOICE, sample_rate=RATE, colours="bgr")
    assert answers(swapped) == answers(by_arrays)
    assert answers(predictor.predict(FRAMES, times=np.arange(40) / 20))[0][2] == "face"


def test_a_picture_and_a_sound_stand_for_themselves(predictor):
    picture = predictor.predict(FRAMES[0])
    assert len(picture.windows) == 1 and picture.windows[0].evidence == "face"
    assert answers(predictor.predict(Image.fromarray(FRAMES[0]))) == answers(picture)
    sound = predictor.predict(samples=VOICE, sample_rate=RATE)
    assert {window.evidence for window in sound.windows} == {"voice"} and not sound.has_video


@pytest.mark.parametrize("wrong", [3, {"a": 1}, FRAMES[0] / 255, FRAMES[0, 0], None, io.StringIO("text"), [1, 2]])
def test_anything_else_is_refused_with_what_is_taken(predictor, wrong):
    with pytest.raises(TypeError) as refusal:
        predictor.predict(wrong, fps=20 if isinstance(wrong, list) else None)
    assert (isinstance(refusal.value, InputTypeError) and "array" in str(refusal.value)) or "binary" in str(
        refusal.value
    )


def test_times_and_sound_must_fit(predictor, clip):
    for source, options in [
        (FRAMES, {}), (FRAMES, {"fps": 20, "times": [0.0]}), (FRAMES, {"fps": 0}), (clip, {"fps": 20}),
        (FRAMES, {"fps": 20, "samples": VOICE}), (FRAMES[0], {"samples": VOICE, "sample_rate": RATE}),
        (FRAMES, {"fps": 20, "colours": "hsv"}), (FRAMES, {"fps": 20, "samples": VOICE, "sample_rate": 0}),
    ]:  # fmt: skip
        with pytest.raises(ConfigError):
            predictor.predict(source, **options)
    with pytest.raises(TypeError, match="Transpose"):
        predictor.predict(samples=np.zeros((2, 9000)), sample_rate=RATE)
    with pytest.raises(MediaError, match="<bytes>: not a readable media file") as refusal:
        predictor.predict(b"nothing that anybody could play")
    assert "/" not in str(refusal.value)


def test_a_part_has_the_answers_of_that_part_at_the_times_of_the_file(predictor, clip, tmp_path):
    part = predictor.predict(clip, start=0.5, end=1.5)
    assert part.part == (0.5, pytest.approx(1.5, abs=0.06)) and part.start_seconds == 0.5
    assert all(0.5 <= time < 1.5 for time in (*part.tracks[0].times_seconds, *part.frame_times_seconds))
    assert all(0.5 <= start < end <= 1.6 for start, end in part.speech)
    settings = InferenceSettings(start_seconds=0.5, end_seconds=1.5)
    assert answers(EmotionPredictor(predictor.run, settings).predict(clip)) == answers(part)
    arrays = predictor.predict(FRAMES, fps=20, start=0.5, end=1.5)
    assert arrays.part == (0.5, 1.5) and len(arrays.frame_times_seconds) == 20
    drawn = part.annotate(tmp_path / "part.mp4")
    assert probe_media(drawn).duration_seconds == pytest.approx(1.0, abs=0.1)


def test_there_is_no_part_before_the_clip_after_it_or_of_a_picture(predictor, clip):
    for start, end in [(-1, None), (1, 1), (1.5, 0.5), (float("nan"), None)]:
        with pytest.raises(ConfigError):
            predictor.predict(clip, start=start, end=end)
    with pytest.raises(MediaError, match="holds nothing from second 60"):
        predictor.predict(clip, start=60)
    with pytest.raises(ConfigError, match="picture"):
        predictor.predict(FRAMES[0], start=1)


def test_many_clips_give_answers_and_errors_in_their_order(predictor, clip, tmp_path):
    paths = [tmp_path / "nothing.mp4", clip, 3, clip]
    missing, first, wrong, second = predictor.predict_many(paths)
    assert isinstance(missing, MediaError) and "nothing.mp4" in str(missing)
    assert isinstance(wrong, EmotionError) and answers(first) == answers(second) == answers(predictor.predict(clip))


def test_a_stream_is_judged_as_it_comes(predictor):
    drawn = []

    def frames():
        for frame in FRAMES:
            drawn.append(frame)
            yield frame

    moments = []
    for now in predictor.predict_stream(frames(), fps=20):
        moments.append((len(drawn), now))
    assert len(moments) >= 3 and moments[0][0] < len(FRAMES)  # the first answer before the end
    times = [now.duration_seconds for _, now in moments]
    assert times == sorted(times) and times[0] <= 1.0
    assert moments[-1][1].overall.emotion is not None and moments[-1][1].overall.evidence == "face"


def test_a_stream_hears_too(predictor):
    block = RATE // 20
    items = []
    for i, frame in enumerate(FRAMES):
        items += [(i / 20, frame), VOICE[i * block : (i + 1) * block]]
    heard = [now for now in predictor.predict_stream(items, sample_rate=RATE)]
    assert any("voice" in window.evidence for window in heard[-1].windows) and heard[-1].has_audio
    for wrong, options in [("x", {"fps": 20}), (FRAMES[0], {}), (VOICE, {"fps": 20})]:
        with pytest.raises(EmotionError):
            list(predictor.predict_stream([wrong], **options))
