"""A result as fragments of a web page: the answer for the clip, and a card with a portrait for each face."""

import base64
import html

import cv2
import numpy as np

from emotion.errors import MediaError
from emotion.outputs.card import format_chip, format_evidence
from emotion.outputs.story import tell_story, write_headline
from emotion.outputs.timeline import TimelineRow, choose_rows, timeline_rows
from emotion.outputs.video.writing import pictures_of
from emotion.results import Box, MediaPrediction

JPEG_QUALITY = 88
MAX_CARDS = 20
PORTRAIT_SIDE = 96  # pixels
PORTRAIT_MARGIN = 0.25  # of the face's size, on each side
STYLE = """
.answer{font:16px/1.45 system-ui,sans-serif}
.answer p{margin:.3em 0}
.answer .story{font-size:1.2em;font-weight:600}
.answer .note{opacity:.9;font-size:.92em}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(15em,1fr));gap:.8em;
font:15px/1.4 system-ui,sans-serif}
.card{display:flex;gap:.8em;border:1px solid #8886;border-radius:8px;padding:.7em;align-items:flex-start;min-width:0}
.card img,.card .blank{width:72px;height:72px;border-radius:6px;flex:none;object-fit:contain;background:#111}
.card .blank{display:flex;align-items:center;justify-content:center;color:#eee;font-size:2em}
.card h4{margin:0 0 .2em;font-size:1em}
.card p{margin:.2em 0 0;font-size:.9em}
.problem{font:16px/1.45 system-ui,sans-serif;border:2px solid #b3261e;border-radius:8px;padding:.7em 1em;
overflow-wrap:anywhere}
"""


def format_answer(prediction: MediaPrediction) -> str:
    """Returns the clip's answer and its notes as HTML."""
    overall = prediction.overall
    if overall.emotion is None:
        words = "<p><b>No evidence:</b> no face and no voice that could be analysed.</p>"
    else:
        whose = "" if len(prediction.tracks) < 2 else ", for the most visible face"
        headline = write_headline(prediction, tell_story(prediction))
        story = f'<p class="story">{html.escape(headline)}</p>' if headline else ""
        words = f"{story}<p>{format_chip(overall, prediction.class_names)} {format_evidence(overall)}{whose}</p>"
    notes = "".join(f'<p class="note">Note: {html.escape(note)}.</p>' for note in prediction.notes)
    return f'<div class="answer">{words}{notes}</div>'


def format_cards(prediction: MediaPrediction, portraits: dict[int, np.ndarray]) -> str:
    """Returns a card for each face, and one for the voice where it was judged alone, as HTML.

    Args:
        portraits: from ``cut_portraits``; a face without one gets a blank.
    """
    rows, missing = choose_rows(timeline_rows(prediction), MAX_CARDS)
    cards = "".join(_format_card(row, prediction, portraits) for row in rows)
    more = f"<p>And {missing} more in the tables.</p>" if missing else ""
    return f'<div class="cards">{cards}</div>{more}' if cards else ""


def format_problem(words: str) -> str:
    """Returns an error as HTML that screen readers read out at once."""
    return f'<div class="problem" role="alert">{html.escape(words)}</div>'


def _format_card(row: TimelineRow, prediction: MediaPrediction, portraits: dict[int, np.ndarray]) -> str:
    face_id = row.track.face_id if row.track else None
    if face_id in portraits:
        picture = f'<img src="{_data_url(portraits[face_id])}" alt="{html.escape(row.name)}">'
    else:
        picture = f'<div class="blank" aria-hidden="true">{"&#9786;" if row.track else "&#9834;"}</div>'
    lines = []
    if row.summary is not None:
        lines.append(f"<p>{format_chip(row.summary, row.class_names)}</p><p>{format_evidence(row.summary)}</p>")
    shares = prediction.time_shares(face_id)
    if shares:
        words = ", ".join(f"{name} {share:.0%}" for name, share in list(shares.items())[:4])
        lines.append(f"<p>share of the time: {html.escape(words)}</p>")
    if row.track:
        lines.append(f"<p>in sight for {row.track.seconds_in_sight:.1f} s</p>")
    return f'<div class="card">{picture}<div><h4>{html.escape(row.name)}</h4>{"".join(lines)}</div></div>'


def _data_url(image: np.ndarray) -> str:
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def cut_portraits(prediction: MediaPrediction, *, side: int = PORTRAIT_SIDE) -> dict[int, np.ndarray]:
    """Cuts each face out of the frame in which it is largest; the clip at ``prediction.path`` is read again.

    Returns:
        RGB uint8 pictures ``(side, side, 3)`` by ``face_id``; a face whose frame cannot be read has none.
    """
    wanted = {}
    for track in prediction.tracks:
        sizes = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in track.boxes]
        best = int(np.argmax(sizes))
        wanted[track.face_id] = track.times_seconds[best], track.boxes[best]
    portraits: dict[int, np.ndarray] = {}
    if not wanted:
        return portraits
    last = max(time_seconds for time_seconds, _ in wanted.values())
    try:
        for frame in pictures_of(prediction):
            for face_id, (time_seconds, box) in wanted.items():
                if face_id not in portraits and frame.time_seconds >= time_seconds - 1e-3:
                    portraits[face_id] = _cut(frame.image, box, side)
            if frame.time_seconds >= last:
                break
    except MediaError:
        pass  # the faces found so far
    return portraits


def _cut(image: np.ndarray, box: Box, side: int) -> np.ndarray:
    x1, y1, x2, y2 = box
    half = (0.5 + PORTRAIT_MARGIN) * max(x2 - x1, y2 - y1)
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    height, width = image.shape[:2]
    left, right = (int(np.clip(round(middle_x + away), 0, width)) for away in (-half, half))
    top, bottom = (int(np.clip(round(middle_y + away), 0, height)) for away in (-half, half))
    if left >= right or top >= bottom:  # outside the frame
        return np.zeros((side, side, 3), np.uint8)
    cut = np.ascontiguousarray(image[top:bottom, left:right])
    scale = side / max(cut.shape[:2])
    size = max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale))
    small = cv2.resize(cut, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    square = np.zeros((side, side, 3), np.uint8)
    y, x = (side - small.shape[0]) // 2, (side - small.shape[1]) // 2
    square[y : y + small.shape[0], x : x + small.shape[1]] = small
    return square
