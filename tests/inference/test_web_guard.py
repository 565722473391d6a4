"""What a hostile website, address or proxy asks of the page is refused; most of it is tried without Gradio."""

import contextlib
import os
import signal
import subprocess
import sys
from functools import partial

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("gradio")

from emotion.errors import ConfigError  # noqa: E402
from emotion.inference.web import guard, server  # noqa: E402
from emotion.inference.web.listening import own_folder  # noqa: E402
from emotion.inference.web.sessions import MAX_SESSIONS, Sessions  # noqa: E402
from emotion.places import default_run, project_dir  # noqa: E402

UPLOAD, JOIN = guard.UPLOAD, guard.JOIN
HOST = "192.0.2.7:7860"


def make_request(**changes) -> server.PageRequest:
    values = {
        "model": default_run(), "model_name": "default", "runtime": "auto", "host": "127.0.0.1", "port": 0,
        "allowed_hosts": (), "trusted_proxies": (), "auth": None, "max_seconds": 10.0, "max_mb": 1.0,
        "max_total_mb": 4.0, "opens_browser": False,
    }  # fmt: skip
    return server.PageRequest(**{**values, **changes})


async def tell_who_asks(scope, receive, send) -> None:
    """An application that answers with the address of who asks, and the host that a proxy names."""
    from starlette.datastructures import Headers
    from starlette.responses import PlainTextResponse

    host = Headers(scope=scope).get("x-forwarded-host", "-")
    await PlainTextResponse(f"{scope['client'][0]} {host}")(scope, receive, send)


def ask(method: str, path: str = "/", *, peer="198.51.100.1", app=None, names=(), proxies=(), **headers: str):
    """Sends one request through all that stands before Gradio."""
    import asyncio

    app = app or build(names=names, proxies=proxies)
    named = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}

    async def send():
        transport = httpx.ASGITransport(app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return await client.request(method, path, headers=named)

    return asyncio.run(send())


def build(*, names=(), proxies=(), count_places=lambda address: 0, has_room=lambda n_bytes: True, max_share=1e9):
    app = tell_who_asks
    for each in reversed(
        guard.middleware_for(names, proxies, count_places=count_places, has_room=has_room, max_share=max_share)
    ):
        app = each.cls(app, *each.args, **each.kwargs)
    return app


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://192.0.2.7:8080"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"},
        {"origin": f"http://{HOST}", "sec_fetch_site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", [UPLOAD, JOIN, f"{guard.API}run/predict", "/login"])
def test_what_another_website_sends_is_refused(path, headers):
    assert ask("POST", path, content_length="0", **headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": f"http://{HOST}"}, {"origin": "https://page.example", "sec_fetch_site": "same-origin"},
     {"origin": f"https://{HOST}", "sec_fetch_site": "same-origin"}],
)  # fmt: skip
def test_the_page_itself_and_programs_may_ask(headers):
    assert ask("POST", UPLOAD, content_length="0", **headers).status_code == 200


def test_a_link_from_elsewhere_opens_the_page_and_nothing_else():
    visit = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert ask("GET", "/", **visit).status_code == 200
    assert ask("GET", f"{guard.API}heartbeat/x", **visit).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "localhost.evil.example", "", "[::1"])
def test_a_website_whose_name_leads_here_is_refused_on_every_address(host):
    assert ask("GET", host=host).status_code == 400


@pytest.mark.parametrize("host", ["localhost:7860", "10.0.0.3", "emotions.example", "EMOTIONS.example:80"])
def test_own_and_allowed_names_are_answered(host):
    assert ask("GET", host=host, names=["emotions.example"]).status_code == 200


def test_only_a_named_proxy_is_believed():
    said = {"x_forwarded_for": "203.0.113.9", "x_forwarded_host": "emotions.example"}
    names = ["emotions.example"]
    assert ask("GET", names=names, **said).text == "198.51.100.1 -"
    assert ask("GET", names=names, proxies=["198.51.100.0/24"], **said).text == "203.0.113.9 emotions.example"
    assert ask("GET", proxies=["198.51.100.1"], **said).status_code == 400
    origin = {"origin": "https://emotions.example"}
    assert ask("GET", names=names, proxies=["198.51.100.1"], **said, **origin).status_code == 200
    assert ask("GET", names=names, **said, **origin).status_code == 403


@pytest.mark.parametrize(
    "path",
    ["/monitoring", "/monitoring/summary", "/gradio_api/openapi.json", "/openapi.json", "/docs", "/redoc",
     "/gradio_api/vibe-edit", "/gradio_api/proxy=http://127.0.0.1/", "/gradio_api/process_recording",
     "/gradio_api/api/x", "/gradio_api/call/x", "/gradio_api/dev/reload", "/run_history",
     "/gradio_api/component_server"],
)  # fmt: skip
def test_what_the_page_does_not_need_is_not_there(path):
    assert ask("GET", path).status_code == 404 == ask("POST", path).status_code


def test_an_address_has_few_places_in_the_queue_and_others_have_theirs():
    app = build(count_places=lambda address: 3 * (address == "198.51.100.1"))
    assert ask("POST", JOIN, app=app).status_code == 429
    assert ask("POST", JOIN, app=app, peer="198.51.100.2").status_code == 200


def test_uploads_are_limited_for_each_address_and_in_all():
    app = build(has_room=lambda n_bytes: n_bytes <= 1000, max_share=1500)
    upload = partial(ask, "POST", UPLOAD, app=app)
    assert upload(transfer_encoding="chunked").status_code == 411
    assert upload(content_length="1001").status_code == 507
    assert [upload(content_length="900").status_code for _ in range(2)] == [200, 429]
    assert upload(content_length="900", peer="198.51.100.2").status_code == 200


def test_passwords_cannot_be_guessed_by_the_thousand():
    app = build()
    codes = [ask("POST", "/login", app=app).status_code for _ in range(guard.MAX_LOGINS + 1)]
    assert codes == [200] * guard.MAX_LOGINS + [429]
    assert ask("POST", "/login", app=app, peer="198.51.100.2").status_code == 200


def test_an_address_opens_a_limited_number_of_pages_and_the_disk_has_a_limit(tmp_path):
    sessions = Sessions(tmp_path, kept_seconds=100, max_bytes=10)
    for number in range(MAX_SESSIONS):
        sessions.get(str(number), "a")
    with pytest.raises(ConfigError, match="Too many pages"):
        sessions.get("more", "a")
    assert sessions.get("other", "b") and sessions.get("0", "a")
    assert sessions.has_room(10)
    (tmp_path / "clip.mp4").write_bytes(b"x" * 8)
    assert sessions.has_room(2) and not sessions.has_room(3)


# ---- The page as it runs ----


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page that asks for a password."""
    auth = tmp_path_factory.mktemp("auth") / "users"
    auth.write_text("ann:a:b\n\n")
    request = make_request(auth=auth)
    with own_folder("web") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setenv("FORWARDED_ALLOW_IPS", "none")
        with server._launched(request, folder, server.read_users(auth)) as address:
            yield address


@contextlib.contextmanager
def log_in(address: str, password: str):
    with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        client.post("/login", data={"username": "ann", "password": password})
        yield client


def test_the_running_page_refuses_uploads_from_elsewhere_and_takes_its_own(address):
    with log_in(address, "a:b") as client:
        clip = {"files": ("clip.mp4", b"x" * 100)}
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert client.post(UPLOAD, files=clip, headers=headers).status_code == 403
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
        done = client.post(UPLOAD, files=clip, headers={"Origin": address.rstrip("/")})
        assert done.status_code == 200 and "/web-" in done.text
        assert client.post(UPLOAD, files={"files": ("clip.mp4", b"x" * 5_000_000)}).status_code in (413, 507)
        assert client.get("/monitoring/summary").status_code == 404


def test_nothing_is_taken_or_told_without_the_password(address):
    clip = {"files": ("clip.mp4", b"x" * 100)}
    for password in ("", "a", "a:b "):
        with log_in(address, password) as client:
            assert client.post(UPLOAD, files=clip).status_code == 401
            assert client.get("/config").status_code == 401
            assert client.post(JOIN, json={"data": [], "fn_index": 0, "session_hash": "x"}).status_code == 401


@pytest.mark.parametrize("text", ["", "ann", ":x", "ann:"])
def test_a_file_of_users_that_names_nobody_is_told(tmp_path, text):
    (tmp_path / "users").write_text(text)
    with pytest.raises(ConfigError, match="--auth"):
        server.read_users(tmp_path / "users")


@pytest.mark.parametrize("auth", [None, "users"])
def test_who_opens_the_page_to_the_network_is_warned_of_tls_and_passwords(auth):
    words = server._warn_of_network(make_request(host="0.0.0.0", auth=auth))
    assert "TLS" in words and ("log in" if auth else "--auth") in words


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_clips_of_a_program_that_was_killed_are_deleted_at_the_next_start(tmp_path):
    program = (
        'import time\nfrom emotion.inference.web.listening import own_folder\nwith own_folder("web") as folder:\n'
        "    (folder / 'clip.mp4').touch()\n    print(folder, flush=True)\n    time.sleep(60)\n"
    )
    start = partial(
        subprocess.Popen, [sys.executable, "-c", program], cwd=project_dir(), stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    killed, running = start(), None
    try:
        left = killed.stdout.readline().strip()
        running = start()
        mine = running.stdout.readline().strip()
        assert os.path.exists(left) and os.path.exists(mine)  # of a program that runs nothing is deleted
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        third = start()
        third.stdout.readline()
        third.kill()
        third.wait()
        assert not os.path.exists(left) and os.path.exists(mine)
    finally:
        for each in (killed, running):
            if each:
                each.kill()
                each.wait()
