"""A result as a task of Label Studio with predictions to correct: https://labelstud.io.

A list of one task: ``data`` names the media, ``predictions`` hold a region for each stretch of one answer of a face or
the voice. ``meta.text`` says whose it is, and its label as in ``emotion.outputs.annotations``. Videos get
``timelinelabels`` (Label Studio 1.14 or later), whose frames count from 1 on a grid of ``data.frame_rate`` frames a
second, whatever the file has; sounds get ``labels`` in seconds. The project needs this labeling interface::

    <View>                                                    <View>
      <TimelineLabels name="emotion" toName="video">            <Labels name="emotion" toName="audio">
        <Label value="neutral"/> ...                              <Label value="neutral"/> ...
      </TimelineLabels>                                         </Labels>
      <Video name="video" value="$video" frameRate="25"/>       <Audio name="audio" value="$audio"/>
    </View>                                                   </View>

``data.labels`` lists the emotions for it. Label Studio plays what it can reach: upload the media, or serve their folder
as its local storage, and put the address in ``data``.
"""

import json
import math
from pathlib import Path
from typing import Any

from emotion.files import displayable
from emotion.outputs.annotations import LEAST_SECONDS, lane_name, link_media, write_label
from emotion.outputs.stretches import Stretch, stretches_by_row
from emotion.results import UNSURE, MediaPrediction

FRAME_RATE = 25
CONTROL = "emotion"
SECONDS_DIGITS, SCORE_DIGITS = 3, 4


def format_label_studio(
    prediction: MediaPrediction, settings: dict[str, Any] | None = None, target: Path | None = None
) -> str:
    """Returns a result as the text of a JSON file that Label Studio imports.

    Args:
        settings: of the run, for the model's name and version.
        target: where it will lie, from which the media are linked.
    """
    shown = "video" if prediction.has_video else "audio"
    media = link_media(prediction.path, target) or displayable(prediction.path)
    data = {shown: media, "labels": [*prediction.class_names, UNSURE]}
    if shown == "video":
        data["frame_rate"] = FRAME_RATE
    told = settings or {}
    version = f"{Path(str(told.get('model', ''))).name} {str(told.get('model_sha256', ''))[:8]}".strip()
    task = {
        "data": data,
        "predictions": [
            {
                "model_version": displayable(version) or CONTROL,
                "score": round(float(prediction.overall.confidence), SCORE_DIGITS),
                "result": [
                    region
                    for lane, (name, stretches) in enumerate(stretches_by_row(prediction).items(), start=1)
                    for number, stretch in enumerate(stretches, start=1)
                    if stretch.end_seconds - stretch.start_seconds >= LEAST_SECONDS
                    for region in [_region(stretch, f"{lane}-{number}", lane_name(name), shown, prediction)]
                ],
            }
        ],
    }
    return json.dumps([task], indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _region(stretch: Stretch, region_id: str, name: str, shown: str, prediction: MediaPrediction) -> dict[str, Any]:
    if shown == "video":
        kind, value = "timelinelabels", {"ranges": [_frames(stretch)]}
    else:
        times = {"start": stretch.start_seconds, "end": stretch.end_seconds}
        kind, value = "labels", {**{at: round(time, SECONDS_DIGITS) for at, time in times.items()}, "channel": 0}
    last = prediction.start_seconds + prediction.duration_seconds
    return {
        "id": region_id,
        "from_name": CONTROL,
        "to_name": shown,
        "type": kind,
        "value": {**value, kind: [stretch.emotion]},
        "score": round(stretch.confidence, SCORE_DIGITS),
        "meta": {"text": [name, write_label(stretch)]},
        **({"original_length": round(last, SECONDS_DIGITS)} if shown == "audio" else {}),
    }


def _frames(stretch: Stretch) -> dict[str, int]:
    """Returns the first and the last frame of a stretch, counted from 1, both within it; one frame at least."""
    first = math.floor(stretch.start_seconds * FRAME_RATE + 0.5) + 1
    return {"start": first, "end": max(first, math.floor(stretch.end_seconds * FRAME_RATE + 0.5))}
