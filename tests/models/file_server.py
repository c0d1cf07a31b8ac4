"""A file server on this machine that can be made to misbehave, and notes what it was asked."""

import hashlib
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = f"net-{DIGEST[:8]}.pth"
OTHER = b"something else" * 1000


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:  # the name that http.server calls
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        if self.path.removeprefix("/").split("/")[-1] != NAME or self.path.startswith("/empty/"):
            self.send_error(404)
            return
        if server.answer is not None:
            self.wfile.write(server.answer)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        if start and start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body if server.stop_after is None else body[: server.stop_after]
        server.sent.append(len(body))
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # as inherited
        """Print nothing."""


class Server(ThreadingHTTPServer):
    """Serves one file under its name, from any folder but /empty, and notes what was asked and sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.ranges = True
        self.stop_after: int | None = None  # bytes, then the connection breaks
        self.answer: bytes | None = None  # instead of the file
        self.asked: list[str | None] = []  # Range header of each request
        self.sent: list[int] = []  # bytes of each answer
        self.folder = f"http://127.0.0.1:{self.server_port}"
        self.url = f"{self.folder}/{NAME}"


def closed_port() -> int:
    """Return a port where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
