"""A person is compared with themselves: by a reference, by a long clip, by other clips; and is not harmed by it."""

import dataclasses

import numpy as np
import pytest
from baselines import CLASSES, N_VALUES, make_head, make_windows

from emotion.inference.person_baseline import (
    PersonBaseline,
    PersonEvidence,
    match_people,
    match_voice,
    of_own_mean,
    of_reference,
    relate,
)
from emotion.inputs.faces.appearance import Appearance
from emotion.results import OWN_CLIP, REFERENCE

SULLEN = [0.3, 0.1, 0.6]  # at rest, this face looks sad to the network
SMILE = [0.2, 0.38, 0.42]  # and so it does a little when it smiles
GRIEF = [0.02, 0.02, 0.96]


def answers(windows, person, head):
    return np.array([relate(window, person, head).probabilities for window in windows])


def names(windows, person, head):
    return [CLASSES[best] for best in answers(windows, person, head).argmax(axis=1)]


def own(rows, head, **details):
    return of_own_mean(PersonEvidence.of(make_windows(rows, **details)), head, OWN_CLIP)


def test_a_neutral_reference_turns_a_sullen_face_neutral_and_shows_its_smile_and_keeps_its_grief():
    head = make_head()
    person = of_reference(PersonEvidence.of(make_windows([SULLEN] * 3)), head)
    assert (person.kind, person.face_seconds, person.voice_seconds) == (REFERENCE, 2.0, 0.0)
    windows = make_windows([SULLEN, SMILE, GRIEF])
    assert names(windows, person, head) == ["neutral", "happy", "sad"]
    np.testing.assert_allclose(answers(windows, person, head).sum(axis=1), 1)
    # log p - e (log q - log n), by hand
    expected = np.array(SMILE) * (np.array([0.8, 0.1, 0.1]) / SULLEN) ** 0.5
    np.testing.assert_allclose(answers(windows, person, head)[1], expected / expected.sum())


def test_over_a_long_varied_clip_a_person_is_compared_with_their_own_mean():
    head = make_head()
    rows = [SULLEN] * 14 + [[0.03, 0.94, 0.03]] * 3 + [GRIEF] * 3
    person = own(rows, head)
    assert person.kind == OWN_CLIP and person.face_seconds == 10.5
    assert names(make_windows([SULLEN, [0.03, 0.94, 0.03], GRIEF]), person, head) == ["neutral", "happy", "sad"]


@pytest.mark.parametrize("rows", [[GRIEF] * 60, [[0.2, 0.1, 0.7]] * 60, [[0.3, 0.1, 0.6], [0.2, 0.1, 0.7]] * 30])
def test_somebody_who_shows_one_emotion_only_keeps_it(rows):
    head = make_head()
    person = own(rows, head)
    assert person.is_empty or set(names(make_windows(rows), person, head)) == {"sad"}


def test_a_short_clip_is_no_baseline_and_more_time_is_trusted_more():
    head = make_head()
    varied = [SULLEN, [0.05, 0.9, 0.05]]
    assert own(varied * 2, head).is_empty
    shifts = [np.abs(own(varied * n, head).face_shift).max() for n in (6, 20, 200)]
    assert shifts == sorted(shifts) and shifts[0] < 0.8 * shifts[-1]


def test_seconds_are_counted_once_where_windows_overlap_and_end_with_the_clip():
    windows = make_windows([SULLEN] * 3, seconds=3.0, step=0.5)
    assert PersonEvidence.of(windows).face_seconds == 4.0
    assert PersonEvidence.of(windows[:1], 1.2).face_seconds == pytest.approx(1.2)
    pooled = PersonEvidence.pooled([PersonEvidence.of(windows), PersonEvidence.of(windows)])
    assert pooled.face_seconds == 8.0 and pooled.faces.shape == (6, 3)


VOICE = np.array([0.5, 0.3, 0.2])  # what the network says of this voice, whatever it speaks


def test_a_voice_is_judged_by_its_own_head_on_what_differs_from_the_persons_calm_voice():
    head, calm = make_head(), np.array([3.0, 1.0, 2.0, 0.0])
    person = of_reference(PersonEvidence.of(make_windows([], voices=[VOICE] * 2, vectors=[calm] * 2)), head)
    assert person.face_shift is None and person.voice_seconds == 1.5
    vectors = [calm + 0.3 * np.eye(N_VALUES)[i] for i in range(3)]
    windows = make_windows([], voices=[VOICE] * 3, vectors=vectors)
    assert names(windows, person, head) == list(CLASSES)
    hot = dataclasses.replace(head, temperature_voice=3.0)
    assert (answers(windows, person, hot).max(axis=1) < answers(windows, person, head).max(axis=1)).all()
    # With a face, its evidence stays, and only the voice's is exchanged.
    (both,) = answers(make_windows([GRIEF], voices=[VOICE], vectors=vectors[1:2]), person, head)
    relative = np.exp([0, 1.5, 0])
    np.testing.assert_allclose(both, GRIEF * relative / (GRIEF @ relative), atol=1e-6)


def test_a_voice_without_calm_moments_has_no_mean_of_its_own():
    head, rng = make_head(), np.random.default_rng(0)
    vectors = rng.normal(size=(60, N_VALUES))
    angry = [[0.001, 0.05, 0.949], [0.001, 0.949, 0.05]] * 30
    assert own([], head, voices=angry, vectors=vectors).is_empty
    calm = [[0.9, 0.05, 0.05], [0.1, 0.1, 0.8]] * 30
    person = own([], head, voices=calm, vectors=vectors)
    assert 0.5 < person.voice_share < 1
    expected = (9 * vectors[::2].mean(axis=0) + vectors[1::2].mean(axis=0)) / 10
    np.testing.assert_allclose(person.voice_vector, expected)


def test_what_cannot_be_compared_stays_as_it_is():
    head = make_head(voice=False)
    person = of_reference(PersonEvidence.of(make_windows([SULLEN], voices=[VOICE], vectors=[np.ones(4)])), head)
    assert person.voice_vector is None
    (voice_only,) = make_windows([], voices=[VOICE], vectors=[np.ones(4)])
    assert relate(voice_only, person, head) is voice_only
    (unknown,) = make_windows([GRIEF])
    unknown = dataclasses.replace(unknown, parts=None)
    assert relate(unknown, person, head) is unknown


def make_look(seed):
    rng = np.random.default_rng(seed)
    shape = rng.normal(size=50)
    return Appearance(shape / np.linalg.norm(shape), rng.normal(size=48), rng.normal(size=48))


def test_people_are_matched_by_their_looks_and_strangers_by_nobodys():
    looks = [make_look(seed) for seed in range(3)]
    anna, ben = (PersonBaseline(REFERENCE, name=n, views=(looks[i],)) for i, n in enumerate(("Anna", "Ben")))
    faces = {7: [looks[1]], 8: [looks[2]], 9: [looks[0]]}
    matched = match_people([anna, ben], faces)
    assert {track: person.name for track, person in matched.items()} == {7: "Ben", 9: "Anna"}
    # One face and one person belong together, however the light was.
    assert match_people([anna], {8: [looks[2]]}) == {8: anna}
    assert match_people([anna], {}) == match_people([], faces) == {}


def test_a_voice_without_faces_is_matched_by_its_mean():
    people = [PersonBaseline(REFERENCE, voice_vector=np.eye(4)[i], name=str(i)) for i in range(3)]
    evidence = PersonEvidence.of(make_windows([], voices=[VOICE], vectors=[[0.1, 0.2, 0.9, 0]]))
    assert match_voice(people, evidence).name == "2"
    assert match_voice(people, PersonEvidence.of([])) is None
