"""The Mozilla Data Collective on this machine: its API as far as `fetch` uses it."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "a-key"


@dataclass
class Site:
    """What it serves, and what it was asked. ``breaks_after`` ends an answer after so many bytes,
    once; ``accepted`` are the data sets whose terms were accepted."""

    archives: dict[str, tuple[str, bytes]]  # by ID: file name, content
    accepted: set[str]
    address: str = ""
    breaks_after: int | None = None
    says: dict = field(default_factory=dict)  # details that are not those of the archive
    status: int | None = None  # of every answer
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, range


class Answers(BaseHTTPRequestHandler):
    site: Site

    def do_POST(self) -> None:
        self.answer("POST")

    def do_GET(self) -> None:
        self.answer("GET")

    def answer(self, method: str) -> None:
        site, what = self.site, self.path.strip("/").split("/")
        site.asked.append((method, self.path, self.headers.get("Range")))
        if site.status is not None:
            return self.say({"message": f"status {site.status}"}, site.status)
        if what[0] == "files":
            return self.send_archive(site.archives[what[1]][1])
        name = what[2]  # api/datasets/NAME[/download]
        if name not in site.archives:
            return self.say({"message": "not found"}, 404)
        filename, content = site.archives[name]
        checksum = hashlib.sha256(content).hexdigest()
        if what[3:] != ["download"]:
            details = {"id": name, "name": f"Set {name}", "filename": filename}
            return self.say({**details, "sizeBytes": len(content), **site.says})
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return self.say({"message": "unknown key"}, 401)
        if name not in site.accepted:
            return self.say({"message": "terms not agreed to"}, 403)
        url = f"{site.address}/files/{name}"
        return self.say({"downloadUrl": url, "sizeBytes": len(content), "checksum": checksum})

    def send_archive(self, content: bytes) -> None:
        asked, first = self.headers.get("Range"), 0
        if asked:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        end, self.site.breaks_after = self.site.breaks_after, None
        self.wfile.write(content[first:] if end is None else content[first:end])
        self.close_connection = True

    def say(self, content: dict, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def site_of(archives: dict[str, tuple[str, bytes]]) -> Iterator[Site]:
    """It serves the archives, whose terms were all accepted."""
    site = Site(archives, set(archives))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Ours", (Answers,), {"site": site}))
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
