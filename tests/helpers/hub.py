"""A Hugging Face hub on this machine, which serves folders as models."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0" * 39 + "1"


class Hub(BaseHTTPRequestHandler):
    """Answers what huggingface_hub asks; ``served`` are the paths of files that were read."""

    models: dict[str, Path]
    served: list[str]

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        is_api = path.startswith("api/models/")
        owner, name, action, *rest = [*path.removeprefix("api/models/").split("/"), "", "", ""]
        folder = self.models.get(f"{owner}/{name}")
        if folder is None:
            self.send(b"", 401, **{"X-Error-Code": "RepoNotFound"})
        elif is_api and action == "tree":
            files = [
                {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": oid(f)}
                for f in sorted(folder.iterdir())
            ]
            self.send(json.dumps(files).encode())
        elif is_api:
            files = [{"rfilename": f.name} for f in sorted(folder.iterdir())]
            about = {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": files}
            self.send(json.dumps(about).encode())
        elif action == "resolve" and (file := folder / rest[1]).is_file():
            if with_body:
                self.served.append(file.name)
            etag = {"ETag": f'"{oid(file)}"', "X-Repo-Commit": COMMIT}
            self.send(file.read_bytes(), with_body=with_body, **etag)
        else:
            self.send(b"", 404, **{"X-Error-Code": "EntryNotFound"})

    def send(self, body: bytes, status: int = 200, with_body: bool = True, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def oid(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@contextmanager
def hub_of(models: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Its address while it runs, and the names of the files that were read from it."""
    served: list[str] = []
    handler = type("HubOf", (Hub,), {"models": models, "served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
