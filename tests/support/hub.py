"""A stand-in for the Hugging Face Hub: a real HTTP server with the endpoints that huggingface_hub uses."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(slots=True)
class Hub:
    """One repository at one commit, on 127.0.0.1; `log` has every request as "METHOD path [range]"."""

    files: dict[str, bytes]
    model_id: str = "org/name"
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    branches: tuple[str, ...] = ("main", "v1")
    breaks: dict[str, int] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    url: str = ""

    def fetched(self) -> list[str]:
        """The files whose content was asked for, sorted."""
        matches = (re.match(r"GET /[^/]+/[^/]+/resolve/[^/]+/(\S+)", line) for line in self.log)
        return sorted(match[1] for match in matches if match)


@contextmanager
def serve(directory: Path, **options: object) -> Iterator[Hub]:
    """Serve a directory's files as a Hub repository until the block ends."""
    paths = (path for path in directory.rglob("*") if path.is_file())
    hub = Hub({str(path.relative_to(directory)): path.read_bytes() for path in paths}, **options)
    handler = type("HubHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        hub, path = self.hub, self.path.partition("?")[0]
        hub.log.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/(?:revision|tree)/([^/]+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        match = api or file
        if match is None or match[1] != hub.model_id:
            self.refuse(404, "RepoNotFound")
        elif match[2] not in (None, hub.commit, *hub.branches):
            self.refuse(404, "RevisionNotFound")
        elif api and "/tree/" in path:
            self.send(json.dumps([self.entry(name) for name in hub.files]).encode())
        elif api:
            siblings = [{"rfilename": name} for name in hub.files]
            self.send(json.dumps({"id": hub.model_id, "sha": hub.commit, "siblings": siblings}).encode())
        elif match[3] in hub.forbidden:
            self.refuse(403, "GatedRepo")
        else:
            self.send_file(match[3])

    def entry(self, name: str) -> dict[str, object]:
        data = self.hub.files[name]
        return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def send_file(self, name: str) -> None:
        data = self.hub.files[name]
        start = int(re.sub(r"\D", "", self.headers.get("Range", "0")))
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": self.hub.commit}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        cut = self.hub.breaks.pop(name, None) if self.command == "GET" else None
        self.send(data[start:], 206 if start else 200, headers, cut)

    def refuse(self, status: int, code: str) -> None:
        self.send(b"", status, {"X-Error-Code": code, "X-Error-Message": code})

    def send(
        self, data: bytes, status: int = 200, headers: dict[str, str] | None = None, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:cut])

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""
