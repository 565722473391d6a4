"""Which clips come out of which tree of RAVDESS files. The files are empty: only their names are read."""

import logging

import pytest
from data_trees import make_tree
from refusals import refused

from emotion.datasets import Clip, summarize
from emotion.datasets.ravdess import load
from emotion.errors import ConfigError, DatasetError
from emotion.labels import EIGHT_EMOTIONS

KEY = "01-05-01-02-01-01"  # speech, angry, normal, dogs, first, actor 01


def only_clip(root, **kwargs):
    (clip,) = load(root, **kwargs)
    return clip


def names(clip, root):
    """The clip's picture and sound files, relative to the data set's folder."""
    paths = (clip.video_path, clip.audio_path)
    return tuple(path and path.removeprefix(f"{root}").replace("\\", "/").lstrip("/") for path in paths)


# ---- What a name says ----


def test_a_file_name_says_all_there_is_to_know(tmp_path):
    make_tree(tmp_path, "Actor_12/03-02-06-02-01-02-12.wav")
    assert only_clip(tmp_path, vocal_channels=("song",)) == Clip(
        clip_id="ravdess:02-06-02-01-02-12",
        emotion="fearful",
        speaker="ravdess:12",
        audio_path=str(tmp_path / "Actor_12" / "03-02-06-02-01-02-12.wav"),
        sex="female",
        details={
            "vocal_channel": "song",
            "intensity": "strong",
            "statement": "Kids are talking by the door",
            "repetition": "2",
        },
    )


def test_the_third_field_gives_the_eight_emotions_in_order(tmp_path):
    make_tree(tmp_path, *(f"03-01-{code:02d}-01-01-01-01.wav" for code in range(1, 9)))
    assert tuple(clip.emotion for clip in load(tmp_path)) == EIGHT_EMOTIONS


def test_odd_actors_are_male_and_even_ones_female(tmp_path):
    make_tree(tmp_path, *(f"03-01-01-01-01-01-{actor:02d}.wav" for actor in range(1, 25)))
    clips = load(tmp_path)
    assert [clip.speaker for clip in clips] == [f"ravdess:{actor:02d}" for actor in range(1, 25)]
    assert [clip.sex for clip in clips] == ["male", "female"] * 12


# ---- Layouts ----


@pytest.mark.parametrize("video_code", ["01", "02", "03"])
@pytest.mark.parametrize("audio_code", ["01", "02", "03"])
def test_audios_and_videos_folders_are_paired_whatever_their_modality_codes(tmp_path, video_code, audio_code):
    audio, video = f"audios/Actor_01/{audio_code}-{KEY}.wav", f"videos/Actor_01/{video_code}-{KEY}.mp4"
    make_tree(tmp_path, audio, video)
    assert names(only_clip(tmp_path), tmp_path) == (video, audio)


def test_recordings_that_differ_in_any_field_are_not_paired(tmp_path):
    others = ["01-06-01-02-01-01", "01-05-02-02-01-01", "01-05-01-01-01-01", "01-05-01-02-02-01", "01-05-01-02-01-02"]
    make_tree(tmp_path, f"videos/01-{KEY}.mp4", *(f"audios/03-{key}.wav" for key in others))
    clips = load(tmp_path)
    assert len(clips) == 6
    assert [names(clip, tmp_path)[0] for clip in clips if clip.video_path] == [f"videos/01-{KEY}.mp4"]


def test_the_downloaded_tree_gives_each_recording_once(tmp_path):
    video = f"Video_Speech_Actor_01/Actor_01/01-{KEY}.mp4"
    audio = f"Audio_Speech_Actors_01-24/Actor_01/03-{KEY}.wav"
    make_tree(
        tmp_path,
        video,
        f"Video_Speech_Actor_01/Actor_01/02-{KEY}.mp4",
        audio,
        f"audio_speech_actors_01-24/Actor_01/03-{KEY}.wav",
        f"Video_Speech_Actor_01/copy/Actor_01/01-{KEY}.mp4",
    )
    assert names(only_clip(tmp_path), tmp_path) == (video, audio)


@pytest.mark.parametrize(
    ("files", "picture", "sound"),
    [
        pytest.param(["a/01-*.mp4", "a/02-*.mp4"], "a/01-*.mp4", "a/01-*.mp4", id="the video with its sound inside"),
        pytest.param(["02-*.mp4"], "02-*.mp4", None, id="a video alone"),
        pytest.param(["audios/03-*.mp4"], "audios/03-*.mp4", "audios/03-*.mp4", id="an MP4 file is a picture file"),
        pytest.param(["02-*.mp4", "03-*.mp4"], "02-*.mp4", "03-*.mp4", id="sound from another video"),
        pytest.param(["a/01-*.wav", "b/03-*.wav"], None, "b/03-*.wav", id="sound files coded 03 come first"),
        *([[f"03-*.{suffix}"], None, f"03-*.{suffix}"] for suffix in ("wav", "flac", "mp3", "m4a", "ogg", "WAV")),
        *([[f"01-*.{suffix}"], f"01-*.{suffix}", f"01-*.{suffix}"]
          for suffix in ("mp4", "avi", "mkv", "mov", "flv", "webm", "MP4")),
    ],
)  # fmt: skip
def test_picture_and_sound_come_from_the_files_that_have_them(tmp_path, files, picture, sound):
    make_tree(tmp_path, *(name.replace("*", KEY) for name in files))
    expected = tuple(name and name.replace("*", KEY) for name in (picture, sound))
    assert names(only_clip(tmp_path), tmp_path) == expected


def test_song_is_loaded_only_when_asked_for(tmp_path):
    make_tree(
        tmp_path,
        "Audio_Speech_Actors_01-24/Actor_01/03-01-01-01-01-01-01.wav",
        "Audio_Song_Actors_01-24/Actor_01/03-02-01-01-01-01-01.wav",
    )

    def channels(**kwargs):
        return [clip.details["vocal_channel"] for clip in load(tmp_path, **kwargs)]

    assert channels() == ["speech"]
    assert channels(vocal_channels=("song",)) == ["song"]
    assert channels(vocal_channels=("speech", "song")) == ["speech", "song"]


# ---- Files that do not belong ----


def test_misnamed_files_are_counted_and_the_first_of_them_named(tmp_path, caplog):
    strangers = [f"stranger_{number}.wav" for number in range(9)]
    make_tree(tmp_path, f"03-{KEY}.wav", *strangers)
    with caplog.at_level(logging.WARNING):
        assert len(load(tmp_path)) == 1
    assert "left out 9" in caplog.text
    assert "stranger_0.wav" in caplog.text
    assert "stranger_8.wav" not in caplog.text


@pytest.mark.parametrize(
    "name",
    ["04-01-05-01-02-01-01", "03-03-05-01-02-01-01", "03-01-09-01-02-01-01", "03-01-00-01-02-01-01",
     "03-01-05-03-02-01-01", "03-01-05-01-03-01-01", "03-01-05-01-02-03-01", "03-01-05-01-02-01-25",
     "03-01-05-01-02-01-00"],
)  # fmt: skip
def test_impossible_fields_are_left_out_and_reported(tmp_path, caplog, name):
    make_tree(tmp_path, "03-01-05-01-02-01-01.wav", f"{name}.wav")
    with caplog.at_level(logging.WARNING):
        assert len(load(tmp_path)) == 1
    assert f"{name}.wav" in caplog.text
    assert "impossible" in caplog.text


# ---- Nothing to load ----


def test_zip_files_left_packed_are_pointed_out(tmp_path):
    make_tree(tmp_path, "Video_Speech_Actor_01.zip")
    with refused(DatasetError, tmp_path, "1 zip files", "Video_Speech_Actor_01.zip"):
        load(tmp_path)


def test_a_folder_with_song_alone_says_so(tmp_path):
    make_tree(tmp_path, "03-02-01-01-01-01-01.wav")
    with refused(DatasetError, tmp_path, "speech", "1 clips of song"):
        load(tmp_path)


@pytest.mark.parametrize("vocal_channels", [("whisper",), (), "speech"])
def test_a_wrong_vocal_channel_lists_the_choices(tmp_path, vocal_channels):
    with refused(ConfigError, "vocal_channels", "speech, song", repr(vocal_channels)):
        load(tmp_path, vocal_channels=vocal_channels)


# ---- Clips and their summary ----


def test_the_summary_counts_emotions_speakers_and_evidence(tmp_path):
    make_tree(
        tmp_path,
        "01-01-05-01-02-01-01.mp4",
        "02-01-05-01-01-01-02.mp4",
        "03-01-03-01-01-01-03.wav",
        "03-01-03-01-01-02-03.wav",
    )
    lines = summarize(load(tmp_path)).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["emotion", "clips"],
        ["happy", "2"],
        ["angry", "2"],
        ["total", "4"],
    ]
    assert lines[4:] == [
        "speakers: 3 (1 female, 2 male)",
        "files: videos 1, with sound or without; sound only 2, picture only 1",
    ]


@pytest.mark.parametrize(
    ("wrong", "facts"),
    [
        *(({"emotion": word}, ("emotion", repr(word))) for word in ("", "Happy", "joy")),
        *(({"start_seconds": start, "end_seconds": end}, ("seconds", f"{start} and {end}"))
          for start, end in ((-1.0, None), (2.0, 2.0), (0.0, float("nan")), (float("inf"), None))),
        ({"split": "dev"}, ("split", "'dev'")),
        ({"sex": "m"}, ("sex", "'m'")),
        ({"audio_path": None}, ("file",)),
    ],
)  # fmt: skip
def test_a_clip_needs_an_emotion_a_known_sex_a_possible_stretch_and_a_file(wrong, facts):
    with refused(DatasetError, "a: ", *facts):
        Clip(**{"clip_id": "a", "emotion": "happy", "audio_path": "a.wav"} | wrong)
