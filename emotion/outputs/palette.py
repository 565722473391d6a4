"""One colour for each emotion, the same in videos and plots, that colour-blind people can tell apart.

The colours are those of Okabe & Ito (2008), "Color Universal Design", with near-white instead of their black: a black
box would vanish in a dark video, and outlines are black.
"""

from emotion.labels import canonical_emotion
from emotion.results import UNSURE

Colour = tuple[int, int, int]  # RGB, 0 to 255

EMOTION_COLOURS: dict[str, Colour] = {
    "neutral": (245, 245, 245),
    "calm": (86, 180, 233),
    "happy": (240, 228, 66),
    "sad": (0, 114, 178),
    "angry": (213, 94, 0),
    "fearful": (204, 121, 167),
    "disgust": (0, 158, 115),
    "surprised": (230, 159, 0),
}
NO_EVIDENCE_COLOUR: Colour = (153, 153, 153)
DARK: Colour = (16, 16, 16)
WHITE: Colour = (255, 255, 255)


def emotion_colour(emotion: str | None) -> Colour:
    """Returns the RGB colour of an emotion, grey for None and for "unsure".

    Raises:
        ConfigError: if the word names none of the canonical emotions.
    """
    return NO_EVIDENCE_COLOUR if emotion in (None, UNSURE) else EMOTION_COLOURS[canonical_emotion(emotion)]


def contrast_ratio(first: Colour, second: Colour) -> float:
    """Returns the contrast of two colours, 1 to 21, as the Web Content Accessibility Guidelines 2.1 define it."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def text_colour(background: Colour) -> Colour:
    """Returns dark or white, whichever is easier to read on ``background``."""
    return max((DARK, WHITE), key=lambda colour: contrast_ratio(colour, background))


def _luminance(colour: Colour) -> float:
    shares = (value / 255 for value in colour)
    linear = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
