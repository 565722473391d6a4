"""A result as an annotation file of ELAN (.eaf): https://archive.mpi.nl/tla/elan.

A tier for each face and one for the voice have an annotation for each stretch of one answer, of the vocabulary
``emotions``: the model's classes and "unsure". A tier below each, ``NAME: confidence``, has what stands behind the
emotion in a label (``emotion.outputs.annotations``). Times are milliseconds on the file's own clock.
"""

from collections.abc import Iterable
from pathlib import Path

from emotion.media.kinds import kind_of
from emotion.outputs.annotations import LEAST_SECONDS, lane_name, link_media, load_package, write_confidence
from emotion.outputs.stretches import stretches_by_row
from emotion.results import UNSURE, MediaPrediction

AUTHOR = "emotion recognition"
VOCABULARY, EMOTIONS, BEHIND = "emotions", "emotion", "confidence"
ANY_LANGUAGE = ("und", "http://cdb.iso.org/lg/CDB-00130975-001", "undetermined (und)")
NOBODY = ("voice", "clip")  # rows that may be of several people
ENDINGS = {".wav": "audio/x-wav", ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime"}


def format_eaf(prediction: MediaPrediction, target: Path | None = None) -> str:
    """Returns a result as the text of an ELAN file.

    Args:
        target: where it will lie, from which the media are linked.

    Raises:
        ConfigError: if the package ``pympi-ling`` is not installed.
    """
    elan = load_package("pympi.Elan")
    document = elan.Eaf(author=AUTHOR)
    document.remove_tier("default")
    document.remove_linguistic_type("default-lt")
    _add_vocabulary(document, (*prediction.class_names, UNSURE))
    document.add_linguistic_type(EMOTIONS, param_dict={
        "LINGUISTIC_TYPE_ID": EMOTIONS, "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false",
        "CONTROLLED_VOCABULARY_REF": VOCABULARY,
    })  # fmt: skip
    document.add_linguistic_type(BEHIND, constraints="Symbolic_Association", timealignable=False)
    if link := link_media(prediction.path, target):
        link = link if "://" in link or Path(link).is_absolute() else f"./{link}"
        document.add_linked_file(link, relpath=link, mimetype=_mime_type(prediction.path))
    for name, stretches in stretches_by_row(prediction).items():
        tier = lane_name(name)
        person = None if name in NOBODY else tier
        document.add_tier(tier, ling=EMOTIONS, part=person)
        document.add_tier(f"{tier}: {BEHIND}", ling=BEHIND, parent=tier, part=person)
        for stretch in stretches:
            start, end = round(stretch.start_seconds * 1000), round(stretch.end_seconds * 1000)
            if end - start >= LEAST_SECONDS * 1000 and start >= 0:
                document.add_annotation(tier, start, end, stretch.emotion)
                document.add_ref_annotation(
                    f"{tier}: {BEHIND}", tier, (start + end) // 2, write_confidence(stretch)
                )  # fmt: skip
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{elan.to_string(document)}\n'


def _add_vocabulary(document, words: Iterable[str]) -> None:
    document.add_language(*ANY_LANGUAGE)
    document.add_controlled_vocabulary(VOCABULARY)
    document.add_cv_description(VOCABULARY, ANY_LANGUAGE[0])
    for number, word in enumerate(words):
        document.add_cv_entry(VOCABULARY, f"cveid{number}", [(word, ANY_LANGUAGE[0], None)])


def _mime_type(media: str) -> str:
    kind = kind_of(media) or "video"
    return ENDINGS.get(Path(media).suffix.lower(), f"{kind}/*")
