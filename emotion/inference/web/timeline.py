"""The timeline of a clip as a fragment of a web page: hover for values, click to jump there in the video.

Curves and strips need no JavaScript; ``SCRIPT`` adds hovering, jumping, and a line at the video's current time.
"""

import html
import json

import numpy as np

from emotion.outputs.palette import DARK, Colour, emotion_colour, text_colour
from emotion.outputs.timeline import (
    MIN_SHOWN,
    MOMENT_SECONDS,
    TimelineRow,
    choose_moments,
    choose_rows,
    find_hidden,
    find_stretches,
    stack_probabilities,
    timeline_rows,
)
from emotion.results import UNSURE, EmotionSummary, MediaPrediction

MAX_MOMENTS = 800
MAX_ROWS = 20
WIDTH, HEIGHT = 1000, 200  # of the drawing, which is stretched to the page
RIM = 6  # free above and below, so that a curve at 100 % is not cut
DASH = 8  # pixels, of curves that lie on each other, in turn
MIN_NAMED_SHARE = 0.06  # of the width: a shorter stretch of the strip has no room for a name

STYLE = """
.tl{font:15px/1.4 system-ui,sans-serif;position:relative;color:var(--body-text-color,#222)}
.tl-row{margin:0 0 1.1em}
.tl-name{font-weight:600;margin:0 0 .25em}
.tl-plot{position:relative;cursor:pointer;border-left:1px solid #888;outline-offset:3px;touch-action:pan-y}
.tl-plot svg{display:block;width:100%;height:7em;background:#4b4f58;border-radius:3px 3px 0 0}
.tl-strip{position:relative;height:1.6em;background:#8883;overflow:hidden;border-radius:0 0 3px 3px}
.tl-strip span{position:absolute;top:0;bottom:0;overflow:hidden;white-space:nowrap;text-align:center;
font-size:.85em;line-height:1.9em;box-sizing:border-box;border-right:1px solid #1016}
.tl-head{position:absolute;top:0;bottom:0;width:2px;background:#fff;box-shadow:0 0 0 1px #000;pointer-events:none;
display:none;z-index:2}
.tl-axis{display:flex;justify-content:space-between;font-size:.85em;opacity:.85}
.tl-key{display:flex;flex-wrap:wrap;gap:.2em 1em;font-size:.9em;margin:.1em 0 .8em}
.tl-key i{display:inline-block;width:1.1em;height:.8em;border:1px solid #111;margin-right:.35em}
.tl-tip{position:absolute;z-index:5;background:#111;color:#f5f5f5;padding:.4em .6em;border-radius:4px;font-size:.85em;
pointer-events:none;display:none;max-width:15em;white-space:pre-line}
.tl-hint{font-size:.85em;opacity:.85}
"""

# `element` is the fragment in the page, VIDEO a selector. Each row carries its values as JSON.
SCRIPT = """
const player = () => document.querySelector('VIDEO');
const lists = new WeakMap();
const listOf = plot => {
  if (!lists.has(plot)) lists.set(plot, JSON.parse(plot.dataset.moments));
  return lists.get(plot);
};
const scale = plot => { const root = plot.closest('.tl'); return [+root.dataset.start, +root.dataset.end]; };
const momentAt = (plot, x) => {
  const box = plot.getBoundingClientRect(), [start, end] = scale(plot);
  return start + Math.min(1, Math.max(0, (x - box.left) / box.width)) * (end - start);
};
const tell = (plot, time) => {
  const [start, end] = scale(plot), {answers, names} = listOf(plot);
  const place = Math.round((time - start) / (end - start) * (answers.length - 1));
  const answer = answers[Math.min(answers.length - 1, Math.max(0, place))];
  let text = `${(time - start).toFixed(1)} s: `;
  if (!answer) return text + (plot.dataset.kind === 'voice' ? 'nothing heard' : 'out of sight, or not judged');
  text += `${answer[0]}, by ${answer[1]}`;
  const order = answer[2].map((p, i) => [p, names[i]]).sort((a, b) => b[0] - a[0]).slice(0, 4);
  return text + order.map(([p, name]) => `\\n${name} ${p > 99 ? '>99' : p < 0.5 ? '<1' : Math.round(p)} %`).join('');
};
const show = (plot, time) => {
  const root = plot.closest('.tl'), tip = root.querySelector('.tl-tip'), [start, end] = scale(plot);
  tip.textContent = tell(plot, time);
  tip.style.display = 'block';
  const box = plot.getBoundingClientRect(), around = root.getBoundingClientRect();
  const x = box.left - around.left + (time - start) / (end - start) * box.width;
  tip.style.left = `${Math.max(0, Math.min(around.width - tip.offsetWidth, x + 12))}px`;
  tip.style.top = `${box.top - around.top + 8}px`;
};
const hide = () => element.querySelectorAll('.tl-tip').forEach(tip => { tip.style.display = 'none'; });
const jump = (plot, time) => {
  const video = player(), [start] = scale(plot);
  if (video) video.currentTime = Math.max(0, time - start);
};
const plotOf = event => event.target.closest && event.target.closest('.tl-plot');
element.addEventListener('pointermove', event => {
  const plot = plotOf(event);
  if (plot) show(plot, momentAt(plot, event.clientX)); else hide();
});
element.addEventListener('pointerleave', hide);
element.addEventListener('click', event => {
  const plot = plotOf(event);
  if (plot) { jump(plot, momentAt(plot, event.clientX)); show(plot, momentAt(plot, event.clientX)); }
});
element.addEventListener('keydown', event => {
  const plot = plotOf(event), video = player();
  const step = {ArrowLeft: -0.5, ArrowRight: 0.5}[event.key];
  if (!plot || !video || !step) return;
  event.preventDefault();
  const [start, end] = scale(plot);
  const time = Math.min(end, Math.max(start, start + video.currentTime + step));
  jump(plot, time);
  show(plot, time);
});
const follow = () => {
  const video = player();
  element.querySelectorAll('.tl-plot').forEach(plot => {
    const [start, end] = scale(plot), head = plot.querySelector('.tl-head');
    const share = video && video.readyState ? video.currentTime / (end - start) : NaN;
    const is_there = share >= 0 && share <= 1.02;
    head.style.display = is_there ? 'block' : 'none';
    if (is_there) head.style.left = `${100 * Math.min(1, share)}%`;
    plot.setAttribute('aria-valuenow', video ? video.currentTime.toFixed(1) : 0);
  });
};
setInterval(follow, 100);
"""


def script_for(video_selector: str) -> str:
    """Returns the JavaScript for a page with the video at a CSS selector; run it with ``element`` defined."""
    return SCRIPT.replace("VIDEO", video_selector.replace("\\", "\\\\").replace("'", "\\'"))


def format_timeline(prediction: MediaPrediction) -> str:
    """Returns HTML with a row for each face and one for the voice."""
    rows = timeline_rows(prediction)
    if not rows or prediction.duration_seconds < MOMENT_SECONDS:
        return ""
    moments = choose_moments(prediction, MAX_MOMENTS)
    start, end = moments[0], moments[-1]
    rows, missing = choose_rows(rows, MAX_ROWS)
    peaks, is_unsure = np.zeros(len(prediction.class_names)), False
    parts = []
    for row in rows:
        answers = [row.answer_at(moment) for moment in moments]
        for answer in answers:
            if answer is not None:
                peaks = np.maximum(peaks, answer.probabilities)
                is_unsure |= answer.emotion == UNSURE
        parts.append(_format_row(row, prediction.class_names, answers, end - start))
    names = prediction.class_names
    key = "".join(
        f'<span><i style="background:{_css(emotion_colour(name, names))}"></i>{html.escape(name)}</span>'
        for name, peak in zip(names, peaks, strict=True)
        if peak >= MIN_SHOWN
    )
    if is_unsure:
        key += f'<span><i style="background:{_css(emotion_colour(UNSURE))}"></i>{UNSURE}</span>'
    more = f"<p>{missing} more faces are in the tables.</p>" if missing > 0 else ""
    hint = "Hover or tap for values. Click, or use the arrow keys, to jump to that moment in the video."
    return (
        f'<div class="tl" data-start="{start:.3f}" data-end="{end:.3f}"><div class="tl-key">{key}</div>'
        f'{"".join(parts)}{more}<p class="tl-hint">{hint}</p><div class="tl-tip" role="status"></div></div>'
    )


def _format_row(row: TimelineRow, names: tuple[str, ...], answers: list[EmotionSummary | None], duration: float) -> str:
    probabilities = stack_probabilities(answers, len(names))
    values = {"names": names, "answers": [_as_list(answer) for answer in answers]}
    kind = "face" if row.track else "voice"
    label = f"{row.name} over time"
    return (
        f'<div class="tl-row"><div class="tl-name">{html.escape(row.name)}: {html.escape(row.words)}</div>'
        f'<div class="tl-plot" tabindex="0" role="slider" aria-label="{html.escape(label)}" aria-valuemin="0" '
        f'aria-valuemax="{duration:.1f}" aria-valuenow="0" data-kind="{kind}" '
        f'data-moments="{html.escape(json.dumps(values, separators=(",", ":")))}">'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f"{_draw_curves(probabilities, names)}</svg>"
        f'<div class="tl-strip">{_draw_strip(answers, names)}</div><div class="tl-head"></div></div>'
        f'<div class="tl-axis"><span>0 s</span><span>probability, 0 to 100 %</span><span>{duration:.1f} s</span></div>'
        "</div>"
    )


def _as_list(answer: EmotionSummary | None) -> list | None:
    if answer is None:
        return None
    emotion = f"unsure, most probably {answer.most_probable}" if answer.emotion == UNSURE else answer.emotion
    return [emotion, answer.evidence, [round(100 * float(p), 1) for p in answer.probabilities]]


def _draw_curves(probabilities: np.ndarray, names: tuple[str, ...]) -> str:
    peaks = np.max(np.nan_to_num(probabilities), axis=0)
    drawn = [index for index in np.argsort(peaks, kind="stable") if peaks[index] >= MIN_SHOWN]
    curves, dashes = [], []
    for place, index in enumerate(drawn):
        values, colour = probabilities[:, index], emotion_colour(names[index], names)
        # A dark outline separates similar colours.
        curves += [_draw_path(values, DARK, 5), _draw_path(values, colour, 2.5)]
        for depth, size, hidden in find_hidden(probabilities[:, drawn], place):
            dash = f' stroke-dasharray="{DASH} {(size - 1) * DASH}" stroke-dashoffset="{depth * DASH}"'
            dashes.append(_draw_path(np.where(hidden, values, np.nan), colour, 2.5, dash))
    return "".join(curves + dashes)


def _draw_path(values: np.ndarray, colour: Colour, width: float, dash: str = "") -> str:
    path, is_down = [], False
    for place, value in enumerate(values):
        if np.isnan(value):
            is_down = False
            continue
        x, y = WIDTH * place / (len(values) - 1), RIM + (HEIGHT - 2 * RIM) * (1 - value)
        path.append(f"{'L' if is_down else 'M'}{x:.1f} {y:.1f}")
        is_down = True
    return (
        f'<path d="{"".join(path)}" fill="none" stroke="{_css(colour)}" stroke-width="{width}" '
        f'vector-effect="non-scaling-stroke" stroke-linejoin="round"{dash}/>'
    )


def _draw_strip(answers: list[EmotionSummary | None], names: tuple[str, ...]) -> str:
    pieces, n = [], len(answers) - 1
    for start, end, emotion in find_stretches(answers):
        # A moment reaches halfway to its neighbours, as in the curves above.
        left, right = max(0.0, (start - 0.5) / n), min(1.0, (end - 0.5) / n)
        colour = emotion_colour(emotion, names)
        name = html.escape(emotion) if right - left > MIN_NAMED_SHARE else ""
        pieces.append(
            f'<span style="left:{100 * left:.2f}%;width:{100 * (right - left):.2f}%;'
            f'background:{_css(colour)};color:{_css(text_colour(colour))}">{name}</span>'
        )
    return "".join(pieces)


def _css(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
