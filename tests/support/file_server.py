"""A file server on this machine that misbehaves on request."""

import hashlib
import json
import threading
import time
from collections import defaultdict, namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Request = namedtuple("Request", "method path range headers")


class FileServer(ThreadingHTTPServer):
    """Serves ``files`` and keeps a list of all requests. Use it with ``with``.

    Attributes:
        files: content by path.
        posts: by path, what answers a request's JSON with a status and JSON.
        faults: by path, a list of what goes wrong, used up one a request: ``status`` with ``body`` and ``headers``,
            ``content``, ``no_ranges``, ``no_length``, ``break_after`` so many bytes, ``stall_seconds``.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files, self.posts = {}, {}
        self.faults, self.requests = defaultdict(list), []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # connections that a test breaks on purpose

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def log_message(self, format, *args):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(Request("POST", self.path, None, self.headers))
        status, answer = self.server.posts[self.path](json.loads(body))
        self.answer(status, json.dumps(answer).encode())

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append(Request("GET", self.path, wanted, self.headers))
        fault = server.faults[self.path].pop(0) if server.faults[self.path] else {}
        if "status" in fault:
            return self.answer(fault["status"], fault.get("body", b""), **fault.get("headers", {}))
        if self.path not in server.files:
            return self.answer(404, b"nothing here")
        content = fault.get("content", server.files[self.path])
        start, total = 0, len(content)
        if wanted and not fault.get("no_ranges"):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= total:
                return self.answer(416, b"")
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + fault.get('shift', 0)}-{total - 1}/{total}")
        if not fault.get("no_length"):
            self.send_header("Content-Length", str(total - start))
        self.end_headers()
        end = min(total, start + fault["break_after"]) if "break_after" in fault else total
        self.wfile.write(content[start:end])
        self.wfile.flush()
        time.sleep(fault.get("stall_seconds", 0))

    def answer(self, status: int, body: bytes, **headers: str):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"
