"""The form of the service's answers: errors, jobs, models and health, as JSON and as schemas of OpenAPI."""

import json
import math
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from emotion.inference.service.clerk import ClipDone, Problem
from emotion.inference.service.clip_queue import ClipJob, ClipQueue
from emotion.inference.web.guard import Refused
from emotion.outputs.tables import __file__ as tables_file

KINDS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed",
    408: "Timeout", 409: "NotReady", 413: "TooLarge", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError",
    503: "Unavailable",
}  # fmt: skip
RESULT_SCHEMA = "Result"


class ErrorBody(BaseModel):
    type: str = Field(description="the kind of error, such as MediaError", examples=["MediaError"])
    message: str = Field(
        description="what is wrong, and the way out, in one line",
        examples=["notes.txt: is no media file that FFmpeg reads."],
    )


class ErrorAnswer(BaseModel):
    error: ErrorBody


class JobAnswer(BaseModel):
    id: str
    status: Literal["waiting", "running", "done", "failed", "stopped"]
    file: str = Field(description="what you called the clip")
    places_before: int | None = Field(description="while it waits: clips that come first")
    share_done: float = Field(description="0 to 1", ge=0, le=1)
    created_at: datetime
    expires_at: datetime | None = Field(description="when the answer is deleted; null until it is there")
    result_url: str | None = Field(description="once it is done: where POST /v1/predict's answer lies")
    result: dict[str, Any] | None = Field(description="once it is done, of output=json: the result itself")
    error: ErrorBody | None


class ModelAnswer(BaseModel):
    name: str = Field(examples=["default"])
    is_default: bool
    class_names: list[str]
    evidence: list[Literal["face", "frame", "voice"]]
    architecture: str
    window_seconds: float
    step_seconds: float
    unsure_below: float


class ModelsAnswer(BaseModel):
    models: list[ModelAnswer]


class HealthAnswer(BaseModel):
    status: Literal["ok", "stopping", "broken"]
    version: str
    waiting: int
    running: int
    streams: int
    message: str | None = None


def refuse(status: int, message: str, *, kind: str | None = None, after_seconds: float | None = None) -> JSONResponse:
    """Returns an error as the service answers it.

    Args:
        after_seconds: when to try again.
    """
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(after_seconds)))
    body = ErrorAnswer(error=ErrorBody(type=kind or KINDS.get(status, "Error"), message=message))
    return JSONResponse(body.model_dump(), status, headers=headers)


def refuse_by(error: Refused) -> JSONResponse:
    return refuse(error.code, str(error), after_seconds=getattr(error, "after_seconds", None))


def describe_job(job: ClipJob, clips: ClipQueue) -> JobAnswer:
    """Returns what ``GET /v1/jobs/ID`` says."""
    answer, result, url = job.answer, None, None
    if isinstance(answer, ClipDone):
        url = f"/v1/jobs/{job.id}/result"
        if job.task.options.output == "json":
            result = json.loads(answer.path.read_text(encoding="utf-8"))
    expires = None if job.ended_at is None else datetime.fromtimestamp(job.ended_at + clips.limits.keep_seconds, UTC)
    problem = ErrorBody(type=answer.kind, message=answer.message) if isinstance(answer, Problem) else None
    return JobAnswer(
        id=job.id, status=job.state, file=job.task.called, result_url=url, result=result, error=problem,
        places_before=clips.places_before(job) if job.state == "waiting" else None,
        share_done=1.0 if isinstance(answer, ClipDone) else min(1.0, job.task.share),
        created_at=datetime.fromtimestamp(job.created_at, UTC), expires_at=expires,
    )  # fmt: skip


def read_result_schema() -> dict[str, dict[str, Any]]:
    """Returns the schema of results as components of OpenAPI: ``Result``, and one for each of its parts."""
    from pathlib import Path

    text = (Path(tables_file).with_name("result.schema.json")).read_text(encoding="utf-8")
    prefix = f"#/components/schemas/{RESULT_SCHEMA}_"
    schema = json.loads(text.replace('"#/$defs/', f'"{prefix}'))
    schema.pop("$schema")
    parts = schema.pop("$defs")
    return {RESULT_SCHEMA: schema, **{f"{RESULT_SCHEMA}_{name}": part for name, part in parts.items()}}
