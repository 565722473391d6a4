"""Describes the service: as OpenAPI, and as a page that loads nothing from anywhere."""

import html
import json
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from emotion.inference.service.answers import RESULT_SCHEMA, read_result_schema
from emotion.inference.service.clerk import MEDIA_TYPES, PICTURE_TYPES
from emotion.inference.service.options import StreamHello
from emotion.inference.service.streaming import PICTURE_BLOCK, SOUND_BLOCK

if TYPE_CHECKING:
    from fastapi import FastAPI

ABOUT = f"""Send a clip, get the emotion of every face and of the voice; or stream a camera and a microphone.

Errors are JSON: {{"error": {{"type", "message"}}}}. If the service has an API key, send `Authorization: Bearer KEY`.

**Streams**: WebSocket `/v1/stream`. The first message is JSON, the hello: `{{"fps": 25, "sample_rate": 16000}}`. Then
binary blocks: the byte {PICTURE_BLOCK} and a JPEG or PNG file, or the byte {SOUND_BLOCK} and little-endian int16
samples. Answers are JSON: `{{"type": "result", "result": ...}}` for each window. End with `{{"type": "end"}}`."""
EXAMPLE = {
    "schema_version": 3, "file": "clip.mp4", "part": None, "duration_seconds": 6.037, "has_video": True,
    "has_audio": True, "speech": [[0.096, 2.816], [3.584, 5.824]],
    "class_names": ["neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised"], "unsure_below": 0.3218,
    "valence_arousal": "derived", "headline": "", "story": [{"start_s": 0.0, "end_s": 6.037, "emotion": "happy"}],
    "overall": {
        "emotion": "happy", "most_probable": "happy", "confidence": 0.97, "evidence": "face+voice",
        "probabilities": {"neutral": 0.02, "happy": 0.97, "sad": 0.0, "angry": 0.0, "fearful": 0.0, "disgust": 0.0,
                          "surprised": 0.01},
        "valence": 0.8, "arousal": 0.5,
    },
    "faces": [], "voice": None, "utterances": [], "windows": [], "baselines": [], "without_baseline": None,
    "notes": [], "settings": {"model": "default"},
}  # fmt: skip
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1a1a1a}
code,pre{font-family:ui-monospace,monospace;font-size:.9em;background:#f3f3f5;border-radius:4px;padding:.1em .3em}
pre{padding:.8em;overflow:auto;white-space:pre-wrap}table{border-collapse:collapse;width:100%;margin:1em 0}
td,th{text-align:left;vertical-align:top;border-bottom:1px solid #ddd;padding:.3em .6em}h2{margin-top:2em}
@media(prefers-color-scheme:dark){body{background:#16171a;color:#eee}code,pre{background:#26282d}
td,th{border-color:#444}a{color:#9bf}}"""


def describe_routes(app: "FastAPI") -> dict[str, Any]:
    """Returns the OpenAPI document of the service, with the schema of results, the hello of streams, and the key."""
    document = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
    parts = document["components"]
    hello = StreamHello.model_json_schema(ref_template="#/components/schemas/{model}")
    parts["schemas"] |= {**read_result_schema(), "StreamHello": hello}
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}, {}]
    result = {"$ref": f"#/components/schemas/{RESULT_SCHEMA}"}
    for path in ("/v1/predict", "/v1/jobs/{id}/result"):
        for operation in document["paths"][path].values():
            content = {kind.split(";")[0]: {} for kind in (*MEDIA_TYPES.values(), *PICTURE_TYPES.values())}
            content["application/json"] = {"schema": result, "example": EXAMPLE}
            operation["responses"]["200"]["content"] = content
    parts["schemas"]["JobAnswer"]["properties"]["result"] = {"anyOf": [result, {"type": "null"}]}
    refusal = {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}
    for operations in document["paths"].values():
        for operation in operations.values():
            answers = operation["responses"]
            answers.pop("422", None) if "requestBody" not in operation and _takes_nothing(operation) else None
            if "422" in answers:
                answers["422"]["content"] = {"application/json": refusal}
    for unused in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(unused, None)
    document["paths"]["/v1/predict"]["post"]["responses"]["202"] = {
        "description": "With Prefer: respond-async: the job.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobAnswer"}}},
    }
    return document


def _takes_nothing(operation: dict[str, Any]) -> bool:
    return not operation.get("parameters")


def write_docs_page(document: dict[str, Any]) -> str:
    """Returns an OpenAPI document as a page of HTML without scripts."""
    info = document["info"]
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_safe(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{_safe(info['title'])} {_safe(info['version'])}</h1>",
        *(f"<p>{_marked(text)}</p>" for text in info["description"].split("\n\n")),
        '<p>For other programs: <a href="/openapi.json">openapi.json</a>.</p>',
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _show(document, method, path, operation)
    parts.append("<h2>The hello of a stream</h2>")
    parts += _show_fields(document, document["components"]["schemas"]["StreamHello"])
    parts.append("<h2>A result</h2><p>Shortened; <code>Result</code> in openapi.json is the whole schema.</p>")
    parts.append(f"<pre>{_safe(json.dumps(EXAMPLE, indent=1))}</pre></body></html>")
    return "\n".join(parts)


def _show(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> list[str]:
    parts = [f"<h2><code>{method.upper()} {_safe(path)}</code> {_safe(operation['summary'])}</h2>"]
    parts.append(f"<p>{_marked(operation.get('description', ''))}</p>")
    for parameter in operation.get("parameters", []):
        where = _safe(f"{parameter['name']} ({parameter['in']})")
        parts.append(f"<p><code>{where}</code> {_safe(parameter.get('description', ''))}</p>")
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body: <code>{_safe(kind)}</code></p>")
        parts += _show_fields(document, body["schema"])
    rows = [
        f"<tr><td>{_safe(code)}</td><td>{_safe(answer.get('description', ''))}</td>"
        f"<td>{' '.join(f'<code>{_safe(kind)}</code>' for kind in answer.get('content', {}))}</td></tr>"
        for code, answer in sorted(operation["responses"].items())
    ]
    return [*parts, "<table><tr><th>status</th><th>meaning</th><th>form</th></tr>", *rows, "</table>"]


def _show_fields(document: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    rows = []
    for name, field in schema.get("properties", {}).items():
        kinds = [each.get("type", "") for each in field.get("anyOf", [field]) if each.get("type") != "null"]
        default = "required" if name in schema.get("required", []) else json.dumps(field.get("default"))
        rows.append(
            f"<tr><td><code>{_safe(name)}</code></td><td>{_safe(kinds[0])}</td><td>{_safe(default)}</td>"
            f"<td>{_safe(field.get('description', ''))}</td></tr>"
        )
    return ["<table><tr><th>name</th><th>type</th><th>default</th><th>what</th></tr>", *rows, "</table>"]


def _safe(text: str) -> str:
    return html.escape(str(text))


def _marked(text: str) -> str:
    """Escapes a text, and shows its ``code`` and **bold** words as such."""
    shown = []
    for number, piece in enumerate(_safe(text).split("`")):
        shown.append(f"<code>{piece}</code>" if number % 2 else piece)
    pieces = "".join(shown).split("**")
    return "".join(f"<b>{piece}</b>" if number % 2 else piece for number, piece in enumerate(pieces))
