"""A stand-in for the Hugging Face hub: the few of its addresses that pushing and pulling a model ask for."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_stand_in"
LARGE = (".keras", ".onnx")  # what the real one wants sent as large files


class HubServer(ThreadingHTTPServer):
    """Keeps repositories in memory. Use it with ``with``.

    Attributes:
        repositories: files by name, by repository.
        hashes: by file name, a SHA-256 to claim instead of the right one.
        asked: paths of all requests.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.uploaded: dict[str, bytes] = {}
        self.hashes: dict[str, str] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def revision(self, repository: str) -> str:
        files = sorted(self.repositories[repository].items())
        return hashlib.sha1(repr([(n, hashlib.sha256(c).hexdigest()) for n, c in files]).encode()).hexdigest()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self._get(with_body=False)

    def do_GET(self):
        self._get(with_body=True)

    def do_POST(self):  # noqa: PLR0911  (an address, an answer)
        self.server.asked.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json({"error": "Invalid username or password."}, status=401)
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
            self.server.repositories.setdefault(name, {})
            if wanted.get("private") or wanted.get("visibility") == "private":
                self.server.private.add(name)
            return self._json({"url": f"{self.server.url}/{name}", "name": name, "id": "1"})
        if found := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            files = json.loads(body)["files"]
            modes = [
                {"path": each["path"], "uploadMode": "lfs" if each["path"].endswith(LARGE) else "regular",
                 "shouldIgnore": False}
                for each in files
            ]  # fmt: skip
            return self._json({"files": modes})
        if found := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", self.path):
            objects = [
                {"oid": each["oid"], "size": each["size"],
                 "actions": {"upload": {"href": f"{self.server.url}/upload/{each['oid']}", "header": {}}}}
                for each in json.loads(body)["objects"]
            ]  # fmt: skip
            return self._json({"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            files = self.server.repositories[found.group(1)]
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "lfsFile":
                    files[entry["value"]["path"]] = self.server.uploaded[entry["value"]["oid"]]
            revision = self.server.revision(found.group(1))
            url = f"{self.server.url}/{found.group(1)}/commit/{revision}"
            return self._json({"success": True, "commitUrl": url, "commitOid": revision})
        return self._json({"error": f"no such address: {self.path}"}, status=404)

    def do_PUT(self):
        self.server.asked.append(self.path)
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.uploaded[hashlib.sha256(content).hexdigest()] = content
        self._json({})

    def _get(self, *, with_body: bool):
        self.server.asked.append(self.path)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/?]+))?(?:\?.*)?", self.path):
            return self._tell(*found.groups())
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/?]+(?:\?.*)?", self.path):
            files = self.server.repositories[found.group(1)]
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in sorted(files.items())
            ]
            return self._json(entries)
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path):
            repository, _, name = found.groups()
            files = self.server.repositories.get(repository, {})
            if name not in files:
                return self._json({"error": "Entry not found"}, status=404, code="EntryNotFound")
            headers = {
                "X-Repo-Commit": self.server.revision(repository),
                "ETag": f'"{self.server.hashes.get(name, hashlib.sha256(files[name]).hexdigest())}"',
                "X-Linked-Size": str(len(files[name])),
            }
            return self._send(files[name], "application/octet-stream", with_body=with_body, headers=headers)
        return self._json({"error": f"no such address: {self.path}"}, status=404)

    def _tell(self, repository: str, revision: str | None):
        files = self.server.repositories.get(repository)
        is_allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}" or repository not in self.server.private
        if files is None or not is_allowed:
            return self._json({"error": "Repository not found"}, status=404, code="RepoNotFound")
        sha = self.server.revision(repository)
        if revision not in (None, "main", sha):
            return self._json({"error": f"Invalid rev id: {revision}"}, status=404, code="RevisionNotFound")
        siblings = [{"rfilename": name} for name in sorted(files)]
        return self._json({"id": repository, "modelId": repository, "sha": sha, "private": False, "siblings": siblings})

    def _json(self, value, *, status: int = 200, code: str | None = None):
        headers = {"X-Error-Code": code, "X-Error-Message": value["error"]} if code else {}
        self._send(json.dumps(value).encode(), "application/json", status=status, headers=headers)

    def _send(self, body: bytes, kind: str, *, status: int = 200, with_body: bool = True, headers=None):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body and self.command != "HEAD":
            self.wfile.write(body)
