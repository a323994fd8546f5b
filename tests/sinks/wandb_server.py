"""As much of a wandb server as its client needs to upload a run: it keeps what it is given."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """What clients have sent."""

    url: str
    run: dict[str, Any] = field(default_factory=dict)
    """Variables of the mutation that made the run."""
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    artifacts: list[str] = field(default_factory=list)
    """Names of artifacts made."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Uploads, by name."""

    def stream(self, body: dict[str, Any]) -> None:
        """A piece of the run's file stream."""
        files = body.get("files") or {}
        for line in files.get("wandb-history.jsonl", {}).get("content", []):
            self.history.append(json.loads(line))
        for line in files.get("wandb-summary.json", {}).get("content", []):
            self.summary |= json.loads(line)
        if body.get("complete"):
            self.exit_code = body.get("exitcode")

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The answer to a GraphQL operation; nothing for those the client can do without."""
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        given = variables.get("input", variables)
        match found and found[1]:
            case "UpsertBucket":
                self.run |= {key: value for key, value in given.items() if value is not None}
                project = {"id": "p", "name": given.get("project"), "entity": {"id": "e", "name": "me"}}
                bucket = {"id": "run", "name": given.get("name"), "displayName": "run", "project": project}
                return {"upsertBucket": {"bucket": {**bucket, "config": "{}", "historyLineCount": 0}, "inserted": True}}
            case "Viewer":
                return {"viewer": {"id": "u", "entity": "me", "username": "me", "teams": {"edges": []}}}
            case "ServerFeaturesQuery":
                return {"serverInfo": {"features": []}}
            case "ArtifactType":
                return {"project": {"artifact": None}}
            case "CreateRunFiles":
                places = [self._place(one) for one in given["files"]]
                return {"createRunFiles": {"runID": "run", "uploadHeaders": [], "files": places}}
            case "CreateArtifact":
                self.artifacts.append(given["artifactCollectionName"])
                sequence = {"id": "sequence", "latestArtifact": None}
                return {"createArtifact": {"artifact": {"id": "artifact", "state": "PENDING", "artifactSequence": sequence}}}
            case "CreateArtifactManifest":
                manifest = {"id": "manifest", "file": self._place("manifest.json")}
                return {"createArtifactManifest": {"artifactManifest": manifest}}
            case "CreateArtifactFiles":
                nodes = [{"node": self._artifact_file(one["name"])} for one in given["artifactFiles"]]
                return {"createArtifactFiles": {"files": {"edges": nodes}}}
            case "CommitArtifact":
                return {"commitArtifact": {"artifact": {"id": "artifact", "digest": "d"}}}
            case _:
                return {}

    def _place(self, name: str) -> dict[str, Any]:
        return {"id": name, "name": name, "displayName": name, "uploadUrl": f"{self.url}/upload/{name}", "uploadHeaders": []}

    def _artifact_file(self, name: str) -> dict[str, Any]:
        return {**self._place(name), "storagePath": name, "uploadMultipartUrls": None, "artifact": {"id": "artifact"}}


@contextlib.contextmanager
def wandb_server() -> Iterator[Received]:
    """A server on this machine's own address, for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                raw = b"".join(iter(self.chunk, b""))
            else:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw

        def chunk(self) -> bytes:
            data = self.rfile.read(int(self.rfile.readline() or b"0", 16))
            self.rfile.readline()
            return data

        def do_POST(self) -> None:
            body = self.body()
            if self.path.endswith("/graphql"):
                asked = json.loads(body)
                self.reply({"data": received.answer(asked["query"], asked.get("variables") or {})})
                return
            if self.path.endswith("/file_stream"):
                received.stream(json.loads(body))
            self.reply({})

        def do_PUT(self) -> None:
            received.files[self.path.removeprefix("/upload/")] = self.body()
            self.reply({})

        def do_GET(self) -> None:
            self.reply({})

        def reply(self, answer: dict[str, Any]) -> None:
            text = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Received(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
