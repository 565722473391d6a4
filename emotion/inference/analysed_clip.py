"""Holds a clip whose windows are judged, and compares its people with what is usual for them."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emotion.errors import MediaError
from emotion.inference.clip_result import ClipResult, JudgedWindow
from emotion.inference.person_baseline import (
    PersonBaseline,
    PersonEvidence,
    match_people,
    match_voice,
    of_own_mean,
    of_reference,
    relate,
)
from emotion.inputs.window_cutter import WindowCutter
from emotion.media.arrays import ArrayRecording
from emotion.media.recordings import Recording
from emotion.media.tracks import ANY_TRACKS, TrackChoice
from emotion.models.baseline_head import BaselineHead
from emotion.outputs.prediction import Prediction
from emotion.results import OWN_CLIP, OWN_CLIPS, REFERENCE, BaselineUse, Word

MIN_STRANGER_SECONDS = 1.0  # a second face in sight for as long makes a reference ambiguous
KINDS = {
    REFERENCE: "a neutral reference",
    OWN_CLIP: "their own mean in this clip",
    OWN_CLIPS: "their own mean in all their clips",
}


@dataclass(frozen=True)
class AnalysedClip:
    """All that a model says of a clip, before it is put together.

    People are known by the track of their face; None stands for a voice by itself.

    Attributes:
        name: of the file.
        result: puts it together.
        cutter: that cut the windows.
        windows: judged.
        expects_sound: as for ``ClipResult.of_clip``.
        undecodable: as for ``ClipResult.of_clip``.
        choice: the tracks that were judged.
        notes: that come before others.
        part: start and end of what was judged, in seconds; None for the whole clip.
        sound: the clip's, to listen to again; None if it has none.
        words: what was said; None if nobody wrote it down.
    """

    name: str
    result: ClipResult
    cutter: WindowCutter
    windows: list[JudgedWindow]
    expects_sound: bool = True
    undecodable: Mapping[str, str] = field(default_factory=dict)
    choice: TrackChoice = ANY_TRACKS
    notes: tuple[str, ...] = ()
    part: tuple[float, float | None] | None = None
    sound: Recording | ArrayRecording | None = None
    words: tuple[Word, ...] | None = None

    def evidence(self, track: int | None) -> PersonEvidence:
        """Returns what is known of a person."""
        windows = [window for window in self.windows if self._whose(window) == track]
        views = self.cutter.sampler.views(track) if track else ()
        return PersonEvidence.of(windows, self.cutter.duration_seconds, views)

    def main_evidence(self) -> PersonEvidence:
        """Returns what is known of the face most in sight, and of the voices by themselves."""
        return PersonEvidence.pooled([self.evidence(track) for track in (*self._tracks()[:1], None)])

    def only(self, person: PersonBaseline) -> dict[int | None, PersonBaseline]:
        """Returns the people of a clip of one person: the face most in sight, and the voices, are theirs."""
        return dict.fromkeys((*self._tracks()[:1], None), person)

    def find_people(
        self, known: Sequence[PersonBaseline], head: BaselineHead, *, adapts: bool
    ) -> dict[int | None, PersonBaseline]:
        """Returns what is usual for the people of the clip.

        Args:
            known: people whose references were given; recognised by their looks.
            adapts: whether to compare the others with their own mean.
        """
        tracks = self._tracks()
        people = match_people(known, {track: self.cutter.sampler.views(track) for track in tracks})
        voice = None if tracks else match_voice(known, self.evidence(None))
        if voice is not None:
            people[None] = voice
        if adapts:
            # A voice without a face may be several people's, so it has no mean of its own.
            others = [track for track in tracks if track not in people]
            people |= {track: of_own_mean(self.evidence(track), head, OWN_CLIP) for track in others}
        return people

    def check_reference(self, head: BaselineHead) -> None:
        """Makes sure that a clip can serve as one person's reference.

        Raises:
            MediaError: if it shows several faces, or neither a face nor a voice.
        """
        in_sight = [track for track in self._tracks() if self.evidence(track).face_seconds >= MIN_STRANGER_SECONDS]
        if len(in_sight) > 1:
            raise MediaError(
                f"{self.name}: shows {len(in_sight)} faces, so it is no reference for one person. Cut the others out, "
                "or name a clip that shows one."
            )
        if of_reference(self.main_evidence(), head).is_empty:
            raise MediaError(
                f"{self.name}: shows no face and no voice to compare with. Name a clip of the person's calm face or "
                "voice."
            )

    def conclude(
        self, people: Mapping[int | None, PersonBaseline] | None = None, head: BaselineHead | None = None
    ) -> Prediction:
        """Puts the windows together.

        Args:
            people: what is usual for the people of the clip; others are judged as they are.
            head: of the model that compares them.
        """
        people = {track: person for track, person in (people or {}).items() if self._concerns(track, person)}
        names = {track: person.name for track, person in people.items() if track and person.name}
        plain = self._build(self.windows, names)
        if not people:
            return plain
        windows = [
            relate(window, people[self._whose(window)], head) if self._whose(window) in people else window
            for window in self.windows
        ]
        shown = self._build(windows, names)
        ids = {track: face.face_id for track, face in self.result.faces().items()}
        uses = [
            BaselineUse(ids.get(track), person.kind, person.face_seconds, person.voice_seconds)
            for track, person in sorted(people.items(), key=lambda pair: ids.get(pair[0], len(ids) + 1))
        ]
        shown = dataclasses.replace(shown, baselines=tuple(uses), without_baseline=plain)
        return dataclasses.replace(shown, notes=(*shown.notes, _describe(shown)))

    def _build(self, windows: list[JudgedWindow], names: Mapping[int, str]) -> Prediction:
        prediction = self.result.of_clip(
            windows, expects_sound=self.expects_sound, undecodable=self.undecodable, names=names
        )
        prediction = dataclasses.replace(
            prediction,
            notes=(*self.notes, *prediction.notes),
            video_track=self.choice.video,
            audio_track=self.choice.audio,
            words=self.words,
        )
        if self.part is None:
            return prediction
        start, end = self.part[0], self.part[0] + prediction.duration_seconds
        return dataclasses.replace(prediction.moved(start), part=(start, end))

    def _tracks(self) -> list[int]:
        """The faces that are judged, the one that fills most of the picture first."""
        faces = self.result.faces()
        return sorted(faces, key=lambda track: -faces[track].total_area)

    def _whose(self, window: JudgedWindow) -> int | None:
        return self.cutter.sampler.resolve(window.track) if window.track else None

    def _concerns(self, track: int | None, person: PersonBaseline) -> bool:
        """Whether any answer changes with a person's baseline."""
        parts = [w.parts for w in self.windows if w.parts is not None and self._whose(w) == track]
        has_face = person.face_shift is not None and any(part.face is not None for part in parts)
        return has_face or (person.voice_vector is not None and any(part.voice is not None for part in parts))


def _describe(prediction: Prediction) -> str:
    """Says whose answers are relative, to what, and how much of it there is."""
    names = {face.face_id: face.name for face in prediction.tracks}
    words = []
    for use in prediction.baselines:
        amounts = [(use.face_seconds, "face"), (use.voice_seconds, "voice")]
        known = " and ".join(f"{seconds:.1f} s of {what}" for seconds, what in amounts if seconds)
        words.append(f"{names.get(use.face_id, 'the voice')} is compared with {KINDS[use.kind]} ({known})")
    return f"{'; '.join(words)}; the JSON also holds the answers without that"
