"""A small HTTP server on loopback that answers range requests, and can misbehave as real ones do."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(kw_only=True)
class RangeServer:
    """Serves `content` at every path while it is entered."""

    content: bytes
    ranges: bool = True  # False: a range that is asked for is ignored
    cut_bytes: int | None = None  # a response breaks off after so many bytes
    statuses: list[int] = field(default_factory=list)  # sent before anything else, one a request
    bytes_per_s: float | None = None
    requests: list[str | None] = field(default_factory=list)  # the Range header of each request so far

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/package.tgz"


def _handler(served: RangeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            served.requests.append(asked)
            if served.statuses:
                self.send_error(served.statuses.pop(0))
                return
            total, start = len(served.content), 0
            if asked and served.ranges:
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
                if start >= total:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{total}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(total - start))
            self.end_headers()
            self._send(served.content[start:][: served.cut_bytes])

        def _send(self, body: bytes) -> None:
            step = 4096 if served.bytes_per_s else len(body) or 1
            for first in range(0, len(body), step):
                try:
                    self.wfile.write(body[first : first + step])
                except OSError:
                    return  # the client went away
                if served.bytes_per_s:
                    time.sleep(step / served.bytes_per_s)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
