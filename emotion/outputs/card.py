"""A result as a card of HTML for notebooks: the headline, and a strip of colours over time for each face and the voice.

It needs no script and no style sheet, and it keeps the notebook's own colours for text and background.
"""

import html
from pathlib import Path

from emotion.files import displayable
from emotion.outputs.palette import emotion_colour, text_colour
from emotion.outputs.story import clock
from emotion.outputs.timeline import TimelineRow, choose_moments, choose_rows, find_stretches, timeline_rows
from emotion.results import UNSURE, EmotionSummary, MediaPrediction, in_percent

MAX_ROWS = 12
MAX_MOMENTS = 600
WIDTH, HEIGHT = 640, 22  # of a strip, in units of the drawing
LETTER_WIDTH = 7.2  # of a word inside a strip, in the same units
FONT = "font:14px/1.5 system-ui,sans-serif"
EVIDENCE = {
    "face+voice": "judged by face and voice",
    "face": "judged by the face alone",
    "voice": "judged by the voice alone",
    "frame": "judged by whole frames",
    "frame+voice": "judged by whole frames and the voice",
    "none": "no evidence",
}


def render_card(prediction: MediaPrediction) -> str:
    """Returns the card of a result. All text in it is escaped."""
    from emotion.outputs.story import tell_story, write_headline

    rows, n_missing = choose_rows(timeline_rows(prediction), MAX_ROWS)
    headline = write_headline(prediction, tell_story(prediction))
    title = f"<b>{html.escape(displayable(Path(prediction.path).name))}</b>"
    parts = [f"<div>{title} &middot; {clock(prediction.duration_seconds)}</div>"]
    overall = prediction.overall
    if headline:
        parts.append(f'<div style="font-size:1.15em;margin:.2em 0">{html.escape(headline)}</div>')
    chip = format_chip(overall, prediction.class_names)
    parts.append(f'<div style="margin:.2em 0 .5em">{chip} {format_evidence(overall)}</div>')
    parts += [_row(row, prediction) for row in rows]
    if n_missing:
        parts.append(f"<div>and {n_missing} further faces</div>")
    parts += [f'<div style="opacity:.85">note: {html.escape(note)}</div>' for note in prediction.notes]
    return f'<div style="{FONT};max-width:46em">{"".join(parts)}</div>'


def format_chip(summary: EmotionSummary, class_names: tuple[str, ...]) -> str:
    """Returns an answer as a word on its colour, and its probability."""
    style = "display:inline-block;padding:.1em .6em;border-radius:1em;font-weight:600;border:1px solid #1016"
    if summary.emotion is None:
        return f'<span class="chip" style="{style}">no evidence</span>'
    colour = emotion_colour(summary.emotion, class_names)
    chip = (
        f'<span class="chip" style="{style};background:rgb{colour};color:rgb{text_colour(colour)}">'
        f"{html.escape(summary.emotion)}</span>"
    )
    if summary.emotion == UNSURE:
        return f"{chip} most probably {html.escape(summary.most_probable)}, {in_percent(summary.confidence)}"
    return f"{chip} {in_percent(summary.confidence)}"


def format_evidence(summary: EmotionSummary) -> str:
    """Returns what an answer rests on, in words."""
    return html.escape(EVIDENCE.get(summary.evidence, f"judged by {summary.evidence}"))


def _row(row: TimelineRow, prediction: MediaPrediction) -> str:
    name = f'<div style="width:7em;flex:none;overflow-wrap:anywhere">{html.escape(row.name)}</div>'
    return (
        f'<div style="display:flex;gap:.6em;align-items:center;margin:.25em 0">{name}'
        f'<div style="flex:1">{_strip(row, prediction)}</div></div>'
    )


def _strip(row: TimelineRow, prediction: MediaPrediction) -> str:
    moments = choose_moments(prediction, MAX_MOMENTS)
    first, length = moments[0], max(1e-6, moments[-1] - moments[0])
    step = length / (len(moments) - 1)
    shapes = []
    for begin, end, emotion in find_stretches([row.answer_at(moment) for moment in moments]):
        x = WIDTH * (moments[begin] - first) / length
        width = min(WIDTH * (moments[end - 1] + step - first) / length, WIDTH) - x
        colour = emotion_colour(emotion, row.class_names)
        times = f"{emotion}, {clock(moments[begin])} to {clock(moments[end - 1])}"
        shapes.append(
            f'<rect x="{x:.1f}" y="0" width="{max(1.0, width):.1f}" height="{HEIGHT}" fill="rgb{colour}">'
            f"<title>{html.escape(times)}</title></rect>"
        )
        if width > LETTER_WIDTH * (len(emotion) + 1):
            shapes.append(
                f'<text x="{x + width / 2:.1f}" y="{HEIGHT - 7}" text-anchor="middle" font-size="12" '
                f'fill="rgb{text_colour(colour)}" pointer-events="none">{html.escape(emotion)}</text>'
            )
    words = f"{row.name} over time"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" role="img" aria-label="{html.escape(words)}" '
        f'style="display:block;background:#8883;border-radius:4px;outline:1px solid #8886">{"".join(shapes)}</svg>'
    )
