"""Getting one large file over HTTP, in as many goes as it takes."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_BYTES: Final = 1 << 18
TIMEOUT_S: Final = 30.0  # without a single byte
ATTEMPTS: Final = 4  # in a row that brought nothing

BytesProgress = Callable[[int, int | None], None]  # (bytes at hand, bytes in all where that is known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a file is, and how to get there."""

    url: str
    cafile: str | None = None  # certificates to trust; None for the system's
    proxy: str | None = None  # None for what the environment says


class _BrokenOffError(Exception):
    """The server or the network went away; another go may bring the rest."""


def download(
    address: Address,
    target: Path,
    *,
    most_bytes: int,
    progress: BytesProgress,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Get `address` into `target`, which must be checked by whoever believes it.

    What has come lies in `<target>.part`, and a later call goes on from there, after a kill too.

    Raises: DataError where the server can't be reached, refuses, or sends more than `most_bytes`.
    """
    if not address.url.startswith(("https://", "http://")):
        raise DataError(f"{address.url}: an address that begins with https:// or http:// expected")
    part = target.with_name(f"{target.name}.part")
    opener = _opener(address)
    fruitless = 0
    while True:
        before = _size_bytes(part)
        try:
            _go_on(opener, address.url, part, most_bytes, progress)
        except _BrokenOffError as error:
            fruitless = 0 if _size_bytes(part) > before else fruitless + 1
            if fruitless == ATTEMPTS:
                raise DataError(f"{address.url}: {error}; the same command goes on from what has come") from error
            wait(2.0**fruitless)
        else:
            part.replace(target)
            return


def _go_on(
    opener: urllib.request.OpenerDirector, url: str, part: Path, most_bytes: int, progress: BytesProgress
) -> None:
    have = _size_bytes(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        response = opener.open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if error.headers.get("Content-Range", "").endswith(f"/{have}"):
                return  # it was all there
            part.unlink()
            raise _BrokenOffError("what was there did not fit") from error
        raise _http_error(url, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise _network_error(url, error) from error
    with response:
        start, total = _extent(response, have)
        with part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            stream.truncate()
            have = start
            progress(have, total)
            while chunk := _read(response):
                have += len(chunk)
                if have > most_bytes:
                    raise DataError(f"{url}: more than the {most_bytes} bytes that it may have")
                stream.write(chunk)
                progress(have, total)
    if total is not None and have < total:
        raise _BrokenOffError(f"broken off at {have} of {total} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(str(error) or type(error).__name__) from error


def _extent(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """(position of the first byte that comes, bytes in all); a server may ignore what range was asked for."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match and int(match[1]) == have:
            return have, None if match[2] == "*" else int(match[2])
        raise DataError(f"{response.url}: a range was asked for from byte {have}, another one came")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _opener(address: Address) -> urllib.request.OpenerDirector:
    try:
        context = ssl.create_default_context(cafile=address.cafile)
    except (OSError, ssl.SSLError) as error:
        raise DataError(f"{address.cafile}: can't be read as certificates: {error}") from error
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if address.proxy:
        handlers.append(urllib.request.ProxyHandler({"http": address.proxy, "https": address.proxy}))
    return urllib.request.build_opener(*handlers)


def _http_error(url: str, error: urllib.error.HTTPError) -> Exception:
    if error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR or error.code == http.HTTPStatus.TOO_MANY_REQUESTS:
        return _BrokenOffError(f"HTTP {error.code} {error.reason}")
    return DataError(f"{url}: HTTP {error.code} {error.reason}")


def _network_error(url: str, error: OSError | http.client.HTTPException) -> Exception:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, socket.gaierror | ssl.SSLCertVerificationError):
        return DataError(f"{url}: {reason}")  # waiting does not help
    return _BrokenOffError(str(reason) or type(reason).__name__)


def _size_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
