"""The service's routes: clips and jobs, models, health, counts, streams, and their description."""

import asyncio
import contextlib
import functools
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Form, Header, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse
from starlette.routing import Match
from starlette.websockets import WebSocketDisconnect

from emotion.errors import ConfigError, EmotionError
from emotion.inference.output_plan import MARK
from emotion.inference.service.answers import (
    ErrorAnswer,
    HealthAnswer,
    JobAnswer,
    ModelAnswer,
    ModelsAnswer,
    describe_job,
    refuse,
    refuse_by,
)
from emotion.inference.service.clerk import Clerk, ClipDone, Problem
from emotion.inference.service.clip_queue import DONE, RUNNING, WAITING, Busy, ClipJob, ClipQueue
from emotion.inference.service.description import describe_routes, write_docs_page
from emotion.inference.service.entrance import IS_KNOWN, STREAM, Entrance, Keys, TooMuch
from emotion.inference.service.metrics import CONTENT_TYPE, ServiceMetrics
from emotion.inference.service.options import ClipForm, explain_form, read_hello
from emotion.inference.service.streaming import REFUSED, TRY_LATER, serve_stream
from emotion.inference.web.guard import Refused
from emotion.models.run_folder import check_run
from emotion.version import __version__

ClipBody = Annotated[ClipForm, Form(media_type="multipart/form-data")]
SWEEP_SECONDS = 5.0  # between two looks for answers that are too old
HELLO_SECONDS = 10.0  # that a stream may take for its first message
FAULT = "This is a fault of the service; its log says more."
CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
GONE = 499  # nobody reads this answer
ERRORS = {
    401: "The API key is missing or wrong.",
    413: "The upload is too large.",
    422: "The clip or an option cannot be used.",
    429: "Too many clips of your address are on their way.",
    503: "The queue is full, the clip took too long, or the service is ending.",
}


@dataclass
class Service:
    """What the routes share.

    Attributes:
        names: of this computer, in lower case.
        max_bytes: of an upload.
        max_upload_seconds: that an upload may take.
        max_streams: open at a time.
        max_stream_seconds: that one may last.
        close_seconds: that workers have to stop at the end.
        is_stopping: whether it takes no new work.
    """

    clerk: Clerk
    clips: ClipQueue
    metrics: ServiceMetrics
    keys: Keys
    names: set[str]
    max_bytes: int
    max_upload_seconds: float
    max_streams: int
    max_stream_seconds: float
    close_seconds: float = 10.0
    n_streams: int = 0
    is_stopping: bool = False

    @property
    def default_model(self) -> str:
        return next(iter(self.clerk.analyst.models))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is at work."""
        return self.clips.is_idle and self.n_streams == 0


def build_app(service: Service) -> FastAPI:
    """Returns the application, which begins the service's workers when it starts and deletes all clips when it ends."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI):
        service.clips.start()
        sweeping = asyncio.create_task(_sweep(service))
        try:
            yield
        finally:
            service.is_stopping = True
            sweeping.cancel()
            await asyncio.to_thread(service.clips.close, service.close_seconds)

    app = FastAPI(title="Emotion recognition", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.openapi = functools.cache(functools.partial(describe_routes, app))
    _add_clip_routes(app, service)
    _add_other_routes(app, service)
    _add_errors(app)
    app.add_middleware(
        Entrance, names=service.names, keys=service.keys, clips=service.clips, metrics=service.metrics,
        max_bytes=service.max_bytes, max_upload_seconds=service.max_upload_seconds,
        is_stopping=lambda: service.is_stopping, find_route=functools.partial(_find_route, app),
    )  # fmt: skip
    service.metrics.watch(service.clips)
    return app


async def _sweep(service: Service) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        await asyncio.to_thread(service.clips.sweep)


def _find_route(app: FastAPI, scope: dict) -> str:
    """Returns a path as the routes write it, so that there are as many names as routes."""
    bare = {**scope, "path": scope["path"].rstrip("/") or "/"}
    for route in app.routes:
        if route.matches(bare)[0] is not Match.NONE:
            return getattr(route, "path", "other")
    return "other"


# ---- Clips ----


def _described(what: str, *statuses: int) -> dict[int, dict[str, Any]]:
    answers = {status: {"model": ErrorAnswer, "description": ERRORS[status]} for status in statuses}
    return {200: {"description": what}, **answers}


class AnswerFile(FileResponse):
    """Sends an answer, and deletes its job once it is sent or the caller has gone."""

    def __init__(self, job: ClipJob, done: ClipDone, *, then: Any = None):
        is_shown, stem = job.task.options.output == "json", job.task.called.rpartition(".")[0] or job.task.called
        name = None if is_shown else f"{stem}{MARK}{done.path.suffix}"
        super().__init__(
            done.path, media_type=done.media_type, filename=name, headers={"Cache-Control": "no-store"}
        )  # fmt: skip
        self._then = then

    async def __call__(self, scope, receive, send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._then is not None:
                self._then()


def _add_clip_routes(app: FastAPI, service: Service) -> None:
    clips = service.clips
    Accept = Annotated[str | None, Header(description="video/mp4 for the annotated video, text/csv and so on")]

    async def take(request: Request, form: ClipForm, accept: str | None, *, is_kept: bool) -> ClipJob:
        options = form.clip_options(accept, service.default_model)
        service.clerk.analyst.check_model(options.model)
        if service.is_stopping:
            raise Busy(503, "The service is ending. Try again later.", 10.0)
        address = request.client.host if request.client else ""
        return await run_in_threadpool(
            clips.add, form.file.file, form.file.filename, options, address=address, is_kept=is_kept
        )

    def accepted(job: ClipJob) -> JSONResponse:
        body = describe_job(job, clips).model_dump(mode="json")
        return JSONResponse(body, 202, headers={"Location": f"/v1/jobs/{job.id}", "Cache-Control": "no-store"})

    @app.post(
        "/v1/predict", tags=["clips"], summary="Judge a clip",
        responses=_described("The result, or what output or Accept asks for.", *ERRORS),
    )  # fmt: skip
    async def predict(
        request: Request, form: ClipBody, accept: Accept = None,
        prefer: Annotated[str | None, Header(description="respond-async: answer with a job")] = None,
    ) -> Response:  # fmt: skip
        """Judges every face, and the voice, of a video, a sound file or a picture."""
        if "respond-async" in (prefer or "").lower():
            answer = accepted(await take(request, form, accept, is_kept=True))
            answer.headers["Preference-Applied"] = "respond-async"
            return answer
        job = await take(request, form, accept, is_kept=False)
        try:
            answer = await _wait(job, request)
            if isinstance(answer, ClipDone):
                return AnswerFile(job, answer, then=functools.partial(clips.drop, job))
        except BaseException:
            clips.drop(job)
            raise
        clips.drop(job)
        return Response(status_code=GONE) if answer is None else _explained(answer)

    @app.post(
        "/v1/jobs", status_code=202, response_model=JobAnswer, tags=["clips"], summary="Judge a clip later",
        responses={code: each for code, each in _described("", *ERRORS).items() if code != 200},
    )  # fmt: skip
    async def add_job(request: Request, form: ClipBody, accept: Accept = None) -> Response:
        """Takes a clip as POST /v1/predict does, and answers at once with a job to ask for."""
        return accepted(await take(request, form, accept, is_kept=True))

    missing = {404: {"model": ErrorAnswer, "description": "There is no such job, or its time is over."}}

    def find(number: str) -> ClipJob:
        job = clips.find(number)
        if job is None:
            raise Refused(404, "There is no such job; answers are deleted after a while.")
        return job

    @app.get("/v1/jobs/{id}", response_model=JobAnswer, tags=["clips"], summary="How far is a job?", responses=missing)
    def get_job(id: str, response: Response) -> JobAnswer:
        """Tells the state of a job, and its result once it is done."""
        response.headers["Cache-Control"] = "no-store"
        try:
            return describe_job(find(id), clips)
        except FileNotFoundError:  # deleted meanwhile
            raise Refused(404, "There is no such job; answers are deleted after a while.") from None

    @app.get(
        "/v1/jobs/{id}/result", tags=["clips"], summary="The answer to a job",
        responses={**_described("As POST /v1/predict answers.", 422, 503), **missing,
                   409: {"model": ErrorAnswer, "description": "The job is not done."}},
    )  # fmt: skip
    def get_result(id: str) -> Response:
        """Answers as POST /v1/predict would have."""
        job = find(id)
        if job.is_open:
            raise Busy(409, f"The job is not done: it is {job.state}.", 1.0)
        return AnswerFile(job, job.answer) if job.state == DONE else _explained(job.answer)

    @app.delete("/v1/jobs/{id}", status_code=204, tags=["clips"], summary="Stop and delete a job", responses=missing)
    def delete_job(id: str) -> Response:
        """Stops the work, if there is any, and deletes the answer."""
        clips.drop(find(id))
        return Response(status_code=204)


async def _wait(job: ClipJob, request: Request) -> ClipDone | Problem | None:
    """Returns the answer to a clip; None if the caller goes before."""
    answered = asyncio.wrap_future(job.answered)

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    leaving = asyncio.ensure_future(leave())
    try:
        await asyncio.wait([answered, leaving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
    return answered.result() if answered.done() else None


def _explained(problem: Problem) -> Response:
    return refuse(problem.status, problem.message, kind=problem.kind)


# ---- All else ----


def _add_other_routes(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models", response_model=ModelsAnswer, tags=["service"], summary="The models")
    @functools.cache
    def list_models() -> ModelsAnswer:
        """Lists the models that a request can name."""
        return ModelsAnswer(models=[_describe_model(service, name) for name in service.clerk.analyst.models])

    @app.get(
        "/healthz", response_model=HealthAnswer, tags=["service"], summary="Is it well?",
        responses={503: {"model": HealthAnswer, "description": "It ends, or cannot work."}},
    )  # fmt: skip
    def check_health(response: Response) -> HealthAnswer:
        """Tells whether the service takes work. Needs no key."""
        trouble = service.clips.trouble
        status = "broken" if trouble else "stopping" if service.is_stopping else "ok"
        response.status_code = 200 if status == "ok" else 503
        return HealthAnswer(
            status=status, version=__version__, waiting=service.clips.count(WAITING), streams=service.n_streams,
            running=service.clips.count(RUNNING), message=trouble,
        )  # fmt: skip

    @app.get(
        "/metrics", tags=["service"], summary="Counts for Prometheus",
        responses={200: {"content": {"text/plain": {}}, "description": "Prometheus's text format."}},
    )  # fmt: skip
    def get_metrics() -> Response:
        """Requests by route and status, seconds, queue length, clips and windows judged, memory."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/docs", include_in_schema=False)
    def show_docs() -> Response:
        return HTMLResponse(write_docs_page(app.openapi()), headers={"Content-Security-Policy": CONTENT_POLICY})

    @app.get("/", include_in_schema=False)
    def show_start() -> Response:
        return RedirectResponse("/docs")

    @app.websocket(STREAM)
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        # Who has not shown a key yet takes a place, too.
        if service.n_streams >= service.max_streams:
            words = f"{service.max_streams} streams are open already. Try again later."
            await _end_stream(socket, TRY_LATER, "Unavailable", words)
            return
        service.n_streams += 1
        service.metrics.streams.inc()
        try:
            await _serve_stream(socket, service)
        except WebSocketDisconnect:
            pass
        finally:
            service.n_streams -= 1
            service.metrics.streams.dec()


async def _serve_stream(socket: WebSocket, service: Service) -> None:
    try:
        text = await asyncio.wait_for(socket.receive_text(), HELLO_SECONDS)
        hello = read_hello(text)
        if not (socket.scope[IS_KNOWN] or (hello.api_key and service.keys.hold(hello.api_key))):
            await _end_stream(
                socket, REFUSED, "Unauthorized", "The API key is missing or wrong. Send Authorization or api_key."
            )
            return
        model = hello.model or service.default_model
        predictor = await asyncio.to_thread(_make_predictor, service, model, hello.settings())
    except TimeoutError:
        await _end_stream(socket, REFUSED, "Timeout", f"The hello did not come within {HELLO_SECONDS:g} s.")
        return
    except KeyError:  # it was binary
        await _end_stream(socket, REFUSED, "ConfigError", "The first message must be the hello, as JSON text.")
        return
    except EmotionError as error:
        problem = service.clerk.explain(error)
        await _end_stream(socket, REFUSED, problem.kind, problem.message)
        return
    tally = await serve_stream(
        socket, hello, predictor, model=model, max_seconds=service.max_stream_seconds,
        is_stopping=lambda: service.is_stopping, tell=functools.partial(service.metrics.count_window, model),
    )  # fmt: skip
    service.metrics.count_pictures(judged=tally.pictures, dropped=tally.dropped, unreadable=tally.unreadable)


def _make_predictor(service: Service, model: str, settings):
    from emotion.inference.predictor import EmotionPredictor

    predictor = EmotionPredictor(service.clerk.analyst.run(model), settings)  # its detector is its own
    _ = predictor.detector
    return predictor


async def _end_stream(socket: WebSocket, code: int, kind: str, words: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.send_json({"type": "error", "error": {"type": kind, "message": words}})
        await socket.close(code)


def _describe_model(service: Service, name: str) -> ModelAnswer:
    config = check_run(service.clerk.analyst.models[name])
    evidence = [("face" if config.looks_for_faces else "frame") if each == "video" else "voice"
                for each in sorted(config.modalities, reverse=True)]  # fmt: skip
    return ModelAnswer(
        name=name, is_default=name == service.default_model, class_names=list(config.class_names), evidence=evidence,
        architecture=config.architecture, window_seconds=config.window.window_seconds,
        step_seconds=config.window.step_seconds, unsure_below=config.calibration.unsure_below,
    )  # fmt: skip


# ---- Errors ----


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return refuse_by(error)

    @app.exception_handler(TooMuch)
    @app.exception_handler(HTTPException)
    async def unfit(request: Request, error: HTTPException) -> Response:
        words = {404: "There is no such page; see /docs.", 405: f"{request.method}: this page does not take that."}
        return refuse(error.status_code, words.get(error.status_code, str(error.detail)))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return refuse(422, explain_form(list(error.errors()), ClipForm), kind=ConfigError.__name__)

    @app.exception_handler(EmotionError)
    async def wrong(request: Request, error: EmotionError) -> Response:
        return refuse(422, " ".join(str(error).split()), kind=type(error).__name__)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        return refuse(500, FAULT)
