"""Chooses which tracks of a file are judged: a video track that is no thumbnail, an audio track that is not silent."""

import os
import re
from dataclasses import dataclass

import av
import numpy as np
from av.stream import Disposition

from emotion.errors import MediaError
from emotion.media.streams import Damage, Decoder, interleave, read_packets

COVER_ART = Disposition.attached_pic | Disposition.timed_thumbnails
# Tracks for special listeners, which are judged only where there are no others.
SPECIAL = (
    Disposition.comment | Disposition.visual_impaired | Disposition.hearing_impaired | Disposition.clean_effects
    | Disposition.non_diegetic | Disposition.karaoke | Disposition.dependent
)  # fmt: skip
SILENCE_PEAK = 10 ** (-50 / 20)  # of full scale; a track that never exceeds it is silent
MIN_PICTURES = 2  # of a video; a thumbnail has one
MANY_PICTURES = 250  # of another track, after which a track with one is known as a thumbnail
KINDS = {"video": "video", "audio": "sound"}  # as FFmpeg says, and as you do
UNNAMED = ("none", "unknown")
DUMPED_STREAM = re.compile(r"^\s*Stream #0:(\d+).*?: (?:Audio|Video): (\S+?)[ ,](?:.*?\((\S{4}) / 0x)?", re.MULTILINE)
# Matroska's element 0x86 names the codec; FFmpeg does not tell the names that it does not know.
MATROSKA_CODEC = re.compile(rb"\x86([\x83-\xff])([AV]_[\x20-\x7e]+)")  # its length and name
MATROSKA_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class TrackChoice:
    """What to read of a file.

    Attributes:
        video, audio: tracks, counted from 1 among the file's tracks of that kind; None leaves the choice to the reader.
        channel: the one channel of the sound to read, counted from 1; None mixes all.
    """

    video: int | None = None
    audio: int | None = None
    channel: int | None = None


ANY_TRACKS = TrackChoice()


@dataclass(frozen=True)
class ChosenTracks:
    """The tracks to read.

    Attributes:
        video, audio: PyAV's streams; None for a kind that the file lacks, or that cannot be decoded.
        choice: the same by number.
        notes: why these, and which others there are.
        undecodable: by kind, ``video`` or ``audio``, the codec of a kind that is there but cannot be decoded.
        has_read: whether packets of the container were read to choose.
    """

    video: object | None
    audio: object | None
    choice: TrackChoice
    notes: tuple[str, ...]
    undecodable: dict[str, str]
    has_read: bool


def choose_tracks(path: str | os.PathLike, container, choice: TrackChoice) -> ChosenTracks:
    """Chooses the tracks to read: those that the file marks as default, unless they are silent or show one picture.

    Args:
        path: to name in errors.
        container: PyAV's, of which no packets have been read; where there are several tracks, they are.
        choice: the tracks that are given, which are taken as they are.

    Raises:
        MediaError: if there is no such track, or it cannot be decoded.
    """
    given = {"video": choice.video, "audio": choice.audio}
    tracks = {kind: [stream for stream in container.streams if stream.type == kind] for kind in KINDS}
    ranked = {kind: _rank(tracks[kind]) for kind in KINDS}
    several = [kind for kind in KINDS if given[kind] is None and len(ranked[kind]) > 1]
    fit = _survey(container, {kind: ranked[kind] for kind in several}) if several else {}
    chosen, notes, undecodable = {}, [], {}
    for kind, streams in tracks.items():
        if given[kind] is not None:
            chosen[kind] = _take_given(path, kind, streams, given[kind])
            continue
        chosen[kind] = next((s for s in ranked[kind] if s.index in fit.get(kind, ())), next(iter(ranked[kind]), None))
        pictures = [stream for stream in streams if not stream.disposition & COVER_ART]
        if chosen[kind] is not None and len(pictures) > 1:
            notes.append(_describe_choice(path, kind, streams, chosen[kind], ranked[kind][0]))
        elif chosen[kind] is None and pictures:
            undecodable[kind] = _codec_name(path, pictures[0])
    numbers = {kind: None if each is None else tracks[kind].index(each) + 1 for kind, each in chosen.items()}
    return ChosenTracks(
        chosen["video"],
        chosen["audio"],
        TrackChoice(numbers["video"], numbers["audio"], choice.channel),
        tuple(notes),
        undecodable,
        has_read=bool(several),
    )


def can_be_decoded(stream) -> bool:
    """Whether there is a decoder, and the size or the sample rate is known."""
    context = stream.codec_context
    return context is not None and bool(context.width if stream.type == "video" else context.sample_rate)


def _rank(streams: list) -> list:
    """The tracks that may be judged, best first."""
    usable = [stream for stream in streams if can_be_decoded(stream) and not stream.disposition & COVER_ART]
    return sorted(
        usable, key=lambda stream: (bool(stream.disposition & SPECIAL), not stream.disposition & Disposition.default)
    )


def _take_given(path, kind: str, streams: list, number: int):
    listed = "; ".join(_describe(path, number, stream) for number, stream in enumerate(streams, start=1))
    there = f"Its {KINDS[kind]} tracks are: {listed}." if streams else f"It has no {KINDS[kind]} track."
    if not 1 <= number <= len(streams):
        raise MediaError(f"{path}: has no {KINDS[kind]} track {number}. {there}")
    if not can_be_decoded(streams[number - 1]):
        raise MediaError(f"{path}: {KINDS[kind]} track {number} cannot be decoded. {there}")
    return streams[number - 1]


def _describe_choice(path, kind: str, streams: list, chosen, first) -> str:
    """Says which track was judged, why not the first choice, and which others there are."""
    others = [
        _describe(path, number, stream)
        for number, stream in enumerate(streams, start=1)
        if stream is not chosen and not stream.disposition & COVER_ART
    ]
    flaw = "is silent" if kind == "audio" else "shows one picture"
    why = "" if chosen is first else f", because track {streams.index(first) + 1} {flaw}"
    return (
        f"{KINDS[kind]} track {streams.index(chosen) + 1} was judged{why}; others: {'; '.join(others)}; "
        f"--{kind}_track N chooses one"
    )


def _describe(path, number: int, stream) -> str:
    """Returns a track's number, codec, form and language, such as ``2 (aac, stereo, fre)``."""
    words = [_codec_name(path, stream)]
    context = stream.codec_context
    if not can_be_decoded(stream):
        words.append("cannot be decoded")
    elif stream.type == "video":
        words.append(f"{context.width} x {context.height}")
    else:
        words.append(context.layout.name)
    title, language = stream.metadata.get("title"), stream.metadata.get("language")
    words += [word for word in (language, title) if word and word != "und"]
    return f"{number} ({', '.join(words)})"


def _codec_name(path, stream) -> str:
    """Returns a codec's name, or the mark that the file has for one that FFmpeg does not know."""
    if stream.codec_context is not None:
        return stream.codec_context.codec.canonical_name
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)  # otherwise nothing is dumped
    try:
        found = {int(index): (name, tag) for index, name, tag in DUMPED_STREAM.findall(stream.container.dumps_format())}
    finally:
        av.logging.set_level(level)
    name, tag = found.get(stream.index, ("unknown", ""))
    if name not in UNNAMED:
        return name
    return tag or _read_matroska_codec(path, stream) or "unknown"


def _read_matroska_codec(path, stream) -> str | None:
    if not stream.container.format.name.startswith("matroska"):
        return None
    with open(path, "rb") as file:
        found = MATROSKA_CODEC.findall(file.read(MATROSKA_HEAD_BYTES))
    letter = b"V" if stream.type == "video" else b"A"
    names = [name[: length[0] & 0x7F].decode() for length, name in found if name.startswith(letter)]
    place = [other for other in stream.container.streams if other.type == stream.type].index(stream)
    return names[place] if place < len(names) else None


def _survey(container, ranked: dict[str, list]) -> dict[str, set[int]]:
    """Returns by kind the indices of tracks that hold more than silence or one picture, as far as need be known.

    Reads until this is known of the first choice of each kind, at most the whole file.
    """
    fit: dict[str, set[int]] = {kind: set() for kind in ranked}
    firsts = {kind: streams[0].index for kind, streams in ranked.items()}
    n_pictures = dict.fromkeys((stream.index for stream in ranked.get("video", ())), 0)
    damage = Damage("", is_silent=True)
    streams = [stream for each in ranked.values() for stream in each]
    decoders = {stream.index: Decoder(stream, damage) for stream in streams if stream.type == "audio"}
    for packet in read_packets(container, streams, damage):
        stream = packet.stream
        if stream.type == "video":
            n_pictures[stream.index] += 1
            if n_pictures[stream.index] >= MIN_PICTURES:
                fit["video"].add(stream.index)
        elif stream.index not in fit["audio"] and any(
            _is_loud(frame) for frame in decoders[stream.index].decode(packet)
        ):
            fit["audio"].add(stream.index)
        if _is_decided(fit, firsts, n_pictures):
            break
    return fit


def _is_decided(fit: dict[str, set[int]], firsts: dict[str, int], n_pictures: dict[int, int]) -> bool:
    def is_known(kind: str) -> bool:
        return firsts[kind] in fit[kind] or (kind == "video" and max(n_pictures.values()) >= MANY_PICTURES)

    return all(is_known(kind) for kind in fit)


def _is_loud(frame) -> bool:
    samples = interleave(frame).to_ndarray()
    if not samples.size:
        return False
    if np.issubdtype(samples.dtype, np.floating):
        return bool(np.nanmax(np.abs(samples)) > SILENCE_PEAK)
    info = np.iinfo(samples.dtype)
    middle = 0 if info.min < 0 else (info.max + 1) // 2
    return bool(np.abs(samples.astype(np.float64) - middle).max() > SILENCE_PEAK * (info.max - middle))
