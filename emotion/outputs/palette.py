"""One colour for each emotion, the same in videos and plots, that colour-blind people can tell apart.

The colours are those of Okabe & Ito (2008), "Color Universal Design", with near-white instead of their black: a black
box would vanish in a dark video, and outlines are black. Other emotions get further colours, as far as possible from
all others in CIELAB, in full colour vision and as Machado et al. (2009) simulate its red and green deficiency.
"""

from collections.abc import Sequence

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
FURTHER_COLOURS: tuple[Colour, ...] = (
    (10, 10, 250), (85, 50, 10), (145, 175, 85), (115, 115, 250), (10, 85, 85), (250, 250, 175), (10, 50, 175),
    (205, 205, 175), (50, 50, 115), (175, 205, 230), (230, 230, 115), (10, 85, 250),
)  # fmt: skip
NO_EVIDENCE_COLOUR: Colour = (153, 153, 153)
DARK: Colour = (16, 16, 16)
WHITE: Colour = (255, 255, 255)


def emotion_colour(emotion: str | None, class_names: Sequence[str] = ()) -> Colour:
    """Returns the RGB colour of an emotion, grey for None and for "unsure".

    Args:
        class_names: of the model. Those without a colour of their own get ``FURTHER_COLOURS`` in their order, then the
            colours of emotions that the model does not know, then the same again.
    """
    if emotion in (None, UNSURE):
        return NO_EVIDENCE_COLOUR
    if emotion in EMOTION_COLOURS:
        return EMOTION_COLOURS[emotion]
    others = [name for name in class_names if name not in EMOTION_COLOURS]
    free = [colour for name, colour in EMOTION_COLOURS.items() if name not in class_names]
    choices = (*FURTHER_COLOURS, *free)
    return choices[others.index(emotion) % len(choices) if emotion in others else 0]


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
