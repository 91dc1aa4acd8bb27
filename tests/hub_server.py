"""A hub on the loopback: the part of its API that ``huggingface_hub`` speaks here."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_loopback"
NAME = r"([\w.-]+/[\w.-]+)"


class Repository:
    """Commits by their hash, and branches and tags that point at them."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.refs: dict[str, str] = {}

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.refs["main"]] if "main" in self.refs else {}

    def commit(self, files: dict[str, bytes], ref: str = "main") -> str:
        sha = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[sha] = files
        self.refs[ref] = sha
        return sha

    def find(self, revision: str) -> str | None:
        return self.refs.get(revision, revision if revision in self.commits else None)


class Hub(ThreadingHTTPServer):
    """``repositories`` by kind ("models", "datasets") and owner/name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}  # large files, by their SHA-256
        self.asked: list[str] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that has gone
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def put(self, name: str, files: dict[str, bytes], kind: str = "models") -> Repository:
        repository = self.repositories.setdefault((kind, name), Repository())
        repository.commit(files)
        return repository


@contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self._path()
        if found := re.fullmatch(rf"/api/(models|datasets)/{NAME}(?:/revision/(.+))?", path):
            self._info(*found.groups())
        elif found := re.fullmatch(rf"/api/(models|datasets)/{NAME}/tree/([^/]+)(?:/(.+))?", path):
            self._tree(*found.groups())
        elif found := re.fullmatch(rf"/api/(models|datasets)/{NAME}/refs", path):
            refs = self.server.repositories[found[1], found[2]].refs
            told = {"main": "heads/main"}
            found = [{"name": n, "ref": f"refs/{told.get(n, f'tags/{n}')}", "targetCommit": sha}
                     for n, sha in refs.items()]
            self._answer(200, {"converts": [], "branches": [r for r in found if r["name"] in told],
                               "tags": [r for r in found if r["name"] not in told]})
        elif found := re.fullmatch(rf"/(datasets/)?{NAME}/resolve/([^/]+)/(.+)", path):
            self._file("datasets" if found[1] else "models", *found.groups()[1:])
        else:
            self._answer(404, {"error": f"no {path}"})

    def do_POST(self) -> None:
        path, body = self._path(), self._body()
        if path == "/api/validate-yaml":
            card = json.loads(body)["content"]
            fault = [] if card.startswith("---\n") else [{"message": "no metadata"}]
            self._answer(200, {"errors": [], "warnings": fault})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif found := re.fullmatch(rf"/api/(models|datasets)/{NAME}/preupload/(.+)", path):
            self._answer(200, {"files": [
                {"path": f["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"}
                for f in json.loads(body)["files"]
            ]})
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._answer(200, {"transfer": "basic", "objects": [
                {**o, "actions": {"upload": {"href": f"{self.server.url}/objects/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]})
        elif found := re.fullmatch(rf"/api/(models|datasets)/{NAME}/commit/(.+)", path):
            self._commit(*found.groups(), body)
        elif found := re.fullmatch(rf"/api/(models|datasets)/{NAME}/tag/(.+)", path):
            refs = self.server.repositories[found[1], found[2]].refs
            refs[json.loads(body)["tag"]] = refs[found[3]]
            self._answer(200, {})
        else:
            self._answer(404, {"error": f"no {path}"})

    def do_DELETE(self) -> None:
        _, _, kind, owner, name, _, tag = self._path().split("/")
        if self.server.repositories[kind, f"{owner}/{name}"].refs.pop(tag, None):
            self._answer(200, {})
        else:
            self._answer(404, {"error": tag}, {"X-Error-Code": "RevisionNotFound"})

    def do_PUT(self) -> None:
        name, body = self._path().rpartition("/")[2], self._body()
        self.server.objects[name] = body
        self._answer(200 if hashlib.sha256(body).hexdigest() == name else 400, {})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        key = (f"{asked.get('type') or 'model'}s", name)
        exists = key in self.server.repositories
        self.server.repositories.setdefault(key, Repository())
        self._answer(409 if exists else 200, {"url": f"{self.server.url}/{name}", "id": name})

    def _commit(self, kind: str, name: str, branch: str, body: bytes) -> None:
        repository = self.server.repositories[kind, name]
        files = dict(repository.files)
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
        sha = repository.commit(files, branch)
        self._answer(200, {"commitUrl": f"{self.server.url}/{name}/commit/{sha}", "commitOid": sha})

    def _find(self, kind: str, name: str, revision: str | None) -> tuple[str, dict[str, bytes]]:
        """Commit and files; answers 404 as the hub does and raises where there is none."""
        repository = self.server.repositories.get((kind, name))
        sha = repository and repository.find(unquote(revision or "main"))
        if repository is None or sha is None:
            code = "RepoNotFound" if repository is None else "RevisionNotFound"
            self._answer(404, {"error": code}, {"X-Error-Code": code})
            raise KeyError(name)
        return sha, repository.commits[sha]

    def _info(self, kind: str, name: str, revision: str | None) -> None:
        sha, files = self._find(kind, name, revision)
        siblings = [{"rfilename": path} for path in files]
        about = {"id": name, "sha": sha, "siblings": siblings, "private": False, "tags": [],
                 "downloads": 0, "likes": 0, "disabled": False, "gated": False}
        self._answer(200, about)

    def _tree(self, kind: str, name: str, revision: str, folder: str | None) -> None:
        """Files below ``folder``; unless all are asked for, its files and folders."""
        _, files = self._find(kind, name, revision)
        start = f"{folder}/" if folder else ""
        found: dict[str, dict[str, Any]] = {}
        for path, data in files.items():
            if not path.startswith(start):
                continue
            inner, _, deeper = path.removeprefix(start).partition("/")
            if deeper and "recursive=true" not in self.path.lower():
                found[start + inner] = {"type": "directory", "path": start + inner, "oid": "0"}
            else:
                found[path] = {"type": "file", "path": path, "size": len(data),
                               "oid": hashlib.sha1(data).hexdigest()}
        if found or not folder:
            self._answer(200, list(found.values()))
        else:
            self._answer(404, {"error": "EntryNotFound"}, {"X-Error-Code": "EntryNotFound"})

    def _file(self, kind: str, name: str, revision: str, path: str) -> None:
        sha, files = self._find(kind, name, revision)
        data = files.get(unquote(path))
        if data is None:
            self._answer(404, {"error": "EntryNotFound"}, {"X-Error-Code": "EntryNotFound"})
            return
        headers = {"X-Repo-Commit": sha, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        self._send(200, data, "application/octet-stream", headers)

    def _path(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        return path

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(content).encode(), "application/json", headers or {})

    def _send(self, status: int, data: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Type": kind}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_one_request(self) -> None:
        with suppress(KeyError):  # answered already
            super().handle_one_request()
