"""The canonical emotions, and each data set's own names for them.

The order of a model's classes is not fixed here: it stands in the model's ``config.json`` and nowhere else.
"""

import re
from collections.abc import Iterable, Sequence

from emotion.errors import ConfigError

EIGHT_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
SEVEN_EMOTIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised")

# Third field of a RAVDESS file name (Livingstone & Russo 2018).
RAVDESS_EMOTIONS = dict(zip(("01", "02", "03", "04", "05", "06", "07", "08"), EIGHT_EMOTIONS, strict=True))

# Sixth character of an EmoDB file name (Burkhardt et al. 2005); None has no counterpart here.
EMODB_EMOTIONS = {
    "N": "neutral", "F": "happy", "T": "sad", "W": "angry", "A": "fearful", "E": "disgust", "L": None,
}  # fmt: skip

# Columns of FER+ votes (Barsoum et al. 2016), in order; None has no counterpart here.
FERPLUS_VOTES = ("neutral", "happy", "surprised", "sad", "angry", "disgust", "fearful", None, None, None)

# Class indices of FER2013 (Goodfellow et al. 2013) where its pictures lie in one folder per emotion, as in the files
# read here: in alphabetical order. The competition's own table has sad, surprised and neutral as 4, 5 and 6.
FER2013_EMOTIONS = ("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised")

# In the order of the outputs of networks trained on AffectNet's seven emotions.
AFFECTNET_EMOTIONS = ("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised")

# Third field of a CREMA-D file name (Cao et al. 2014).
CREMAD_EMOTIONS = {
    "ANG": "angry", "DIS": "disgust", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad",
}  # fmt: skip

# First letters of a SAVEE file name (Haq & Jackson 2010).
SAVEE_EMOTIONS = {
    "a": "angry", "d": "disgust", "f": "fearful", "h": "happy", "n": "neutral", "sa": "sad", "su": "surprised",
}  # fmt: skip

# Last part of a TESS file name (Pichora-Fuller & Dupuis 2020); its surprise is a pleasant one.
TESS_EMOTIONS = {
    "angry": "angry", "disgust": "disgust", "fear": "fearful", "happy": "happy", "neutral": "neutral",
    "ps": "surprised", "sad": "sad",
}  # fmt: skip

# First part of an EMOVO file name (Costantini et al. 2014), from the Italian words.
EMOVO_EMOTIONS = {
    "dis": "disgust", "gio": "happy", "neu": "neutral", "pau": "fearful", "rab": "angry", "sor": "surprised",
    "tri": "sad",
}  # fmt: skip

# First letter of an AESDD file name (Vryzas et al. 2018).
AESDD_EMOTIONS = {"a": "angry", "d": "disgust", "f": "fearful", "h": "happy", "s": "sad"}

# Second part of an eNTERFACE'05 file name (Martin et al. 2006), and the names of its folders.
ENTERFACE_EMOTIONS = {
    "an": "angry", "di": "disgust", "fe": "fearful", "ha": "happy", "sa": "sad", "su": "surprised",
}  # fmt: skip

# Names of MEAD's folders (Wang et al. 2020); no model here has a class for contempt.
MEAD_EMOTIONS = {
    "angry": "angry", "contempt": "contempt", "disgusted": "disgust", "fear": "fearful", "happy": "happy",
    "neutral": "neutral", "sad": "sad", "surprised": "surprised",
}  # fmt: skip

# Codes of IEMOCAP's evaluation files (Busso et al. 2008). Raters who did not agree gave "xxx".
IEMOCAP_EMOTIONS = {
    "ang": "angry", "dis": "disgust", "exc": "excited", "fea": "fearful", "fru": "frustrated", "hap": "happy",
    "neu": "neutral", "oth": "other", "sad": "sad", "sur": "surprised", "xxx": "undecided",
}  # fmt: skip

# CMU-MOSEI's emotions (Bagher Zadeh et al. 2018), in the order of its labels.
MOSEI_EMOTIONS = ("happy", "sad", "angry", "surprised", "disgust", "fearful")

# The emotion of a clip whose raters did not agree; no model has a class for it.
UNDECIDED = "undecided"

# Words other data sets and people use for the same emotion.
SYNONYMS = {
    "joy": "happy", "joyful": "happy", "happiness": "happy", "sadness": "sad", "anger": "angry", "fear": "fearful",
    "afraid": "fearful", "scared": "fearful", "disgusted": "disgust", "surprise": "surprised", "calmness": "calm",
    "neutrality": "neutral", "sur": "surprised",
    **{code.lower(): emotion for code, emotion in CREMAD_EMOTIONS.items() if code.lower() != emotion},
}  # fmt: skip


HOW_TO_USE_OTHERS = "To make classes of all emotions in the data: --labels auto; of some: --labels neutral contempt."
# Names of other classes: no markup, no formula, no file name of its own.
CLASS_NAME = re.compile(r"[^\W\d_][\w -]*")
MAX_LETTERS = 30
RESERVED = (
    "unsure", "auto", "other", "none", "unknown", "emotion", "confidence", "evidence", "face", "voice", "start_s",
    "end_s", "clip_id", "speaker", "sex", "predicted", "file", "settings",
)  # fmt: skip


def canonical_emotion(name: str) -> str:
    """Returns the canonical name of an emotion, whatever its spelling ("Joy" is ``happy``).

    Raises:
        ConfigError: if the word names none of the canonical emotions.
    """
    word = name.strip().lower()
    word = SYNONYMS.get(word, word)
    if word not in EIGHT_EMOTIONS:
        raise ConfigError(f"Unknown emotion {name!r}. Known: {', '.join(EIGHT_EMOTIONS)}.")
    return word


def read_emotion(word: str) -> str:
    """Returns the canonical name of an emotion, or the word itself, in lower case, if it is none of them.

    This is for labels in data: a data set may have contempt or boredom. A model without such a class leaves their clips
    out, and counts them; see ``class_index``.
    """
    word = word.strip().lower()
    return SYNONYMS.get(word, word)


def check_class_name(word: str) -> str:
    """Returns the name of a class, canonical if it is a known emotion, else the word in lower case.

    Raises:
        ConfigError: if it cannot name a class: it stands in tables, pages and on frames beside this program's words.
    """
    name = read_emotion(word)
    if not CLASS_NAME.fullmatch(name) or len(name) > MAX_LETTERS or name in RESERVED:
        raise ConfigError(
            f"{word!r} cannot name a class. Use up to {MAX_LETTERS} letters, digits, spaces, - and _, a letter first, "
            "and no word that this program uses, such as unsure."
        )
    return name


def emotions_in(emotions: Iterable[str]) -> tuple[str, ...]:
    """Returns the emotions that occur, known ones first and in their order, then the others by name."""
    found = set(emotions)
    return (*(name for name in EIGHT_EMOTIONS if name in found), *sorted(found - set(EIGHT_EMOTIONS)))


def class_index(emotion: str, class_names: Sequence[str]) -> int | None:
    """Returns the index of an emotion among a model's classes, or None if the model has no such class.

    Calm joins neutral if the model has no class for it; nothing else is merged or guessed.
    """
    emotion = read_emotion(emotion)
    if emotion == "calm" and "calm" not in class_names:
        emotion = "neutral"
    return class_names.index(emotion) if emotion in class_names else None
