"""An S3 server that can be full, slow or closed to us: passes requests on to a real one, or answers in its place."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

REFUSED = {"full": (403, "QuotaExceeded"), "expired": (400, "ExpiredToken")}
"""What Ceph's RGW says to a write beyond a quota, and AWS to a session that is over."""


class Proxy(ThreadingHTTPServer):
    """A proxy of the S3 server at an address; `mode` is `ok`, `slow`, `wrong` (other keys) or one of `REFUSED`."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.mode, self.writes = urlsplit(target).netloc, "ok", 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def s3_proxy(target: str) -> Iterator[Proxy]:
    with Proxy(target) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        mode, headers = self.server.mode, dict(self.headers.items())
        self.server.writes += self.command == "PUT"
        if mode in REFUSED and (mode != "full" or self.command in ("PUT", "POST")):
            status, code = REFUSED[mode]
            return self._answer(status, [], f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())
        if mode == "slow":
            time.sleep(0.2)
        if mode == "wrong":
            headers["Authorization"] = re.sub("Credential=[^/]*", "Credential=OTHER", headers["Authorization"])
        real = HTTPConnection(self.server.target, timeout=60)
        real.request(self.command, self.path, body, headers)  # the same Host: it is signed
        found = real.getresponse()
        content = found.read()
        real.close()
        self._answer(found.status, found.getheaders(), content)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass

    def log_message(self, format: str, *args: object) -> None:
        pass
