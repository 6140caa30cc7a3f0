"""Exports of all demo events as CSV, NDJSON and XLSX: speed, size and memory, and ingest meanwhile."""

import http.client
import re
import statistics
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from benchmarks import rates, servers
from benchmarks.servers import Running

FORMATS = ("csv", "ndjson", "xlsx")
ROUNDS = 3
_PAGE = "/admin/events/namedexport/of/events/"
_HEAD = """\
| format | rows a second | rows a second of processor time | MB | memory before, MB | at most | in each quarter |
|---|--:|--:|--:|--:|--:|---|"""


class Download(NamedTuple):
    seconds: float
    cpu_seconds: float
    size: int
    memory: list[float]

    @property
    def quarters(self) -> list[float]:
        """Return the most memory in each quarter of the download, in MB."""
        step = max(len(self.memory) // 4, 1)
        return [max(self.memory[at * step : (at + 1) * step] or self.memory) for at in range(4)]


def run(folder: Path, events: int) -> Iterator[str]:
    """Yield the lines of a table, one for each format in a fresh site, and then a line about ingest meanwhile."""
    yield _HEAD
    for name in FORMATS:
        with servers.site(folder) as site:
            done = _Client(site).download(name)
        quarters = " → ".join(f"{memory:.0f}" for memory in done.quarters)
        yield (
            f"| {name.upper()} | {events / done.seconds:,.0f} | {events / done.cpu_seconds:,.0f}"
            f" | {done.size / 1e6:,.0f} | {done.memory[0]:.0f} | {max(done.memory):.0f} | {quarters} |"
        )
    with servers.site(folder) as site:
        usual = statistics.median(rates.measure(rates.SUCCESS, site).per_second for _ in range(ROUNDS))
        exporting = threading.Thread(target=_Client(site).download, args=("csv",))
        exporting.start()
        meanwhile = rates.measure(rates.SUCCESS, site).per_second
        exporting.join()
    yield ""
    yield f"POST /event meanwhile: {meanwhile:,.0f}/s, otherwise {usual:,.0f}/s, ratio {meanwhile / usual:.2f}"


class _Client:
    """The first maintainer, signed in, with the columns of the export page."""

    def __init__(self, site: Running) -> None:
        self._site = site
        self._connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=600)
        csrf = self._cookies("GET", "/admin/login/")
        form = {"username": "admin", "password": servers.PASSWORD, "next": "/admin/"}
        self._cookie = self._cookies("POST", "/admin/login/", form, csrf)
        page = self._request("GET", _PAGE, {}, self._cookie).read().decode()
        self._columns = re.findall(r'name="x.column" value="([^"]+)"', page)

    def download(self, name: str) -> Download:
        """Download all events. The figures begin before the request."""
        cpu, begun_at, size = self._site.cpu_seconds, time.monotonic(), 0
        with _sampled(self._site) as memory:
            form = {"x.action": "download", "x.format": name, "x.column": self._columns}
            answer = self._request("POST", _PAGE, form, self._cookie)
            while piece := answer.read(1 << 20):
                size += len(piece)
        return Download(time.monotonic() - begun_at, self._site.cpu_seconds - cpu, size, memory)

    def _cookies(self, method: str, path: str, form: dict[str, str] | None = None, cookie: str = "") -> str:
        answer = self._request(method, path, form or {}, cookie)
        answer.read()
        return "; ".join(found.partition(";")[0] for found in answer.headers.get_all("Set-Cookie", []))

    def _request(self, method: str, path: str, form: Mapping[str, Any], cookie: str) -> http.client.HTTPResponse:
        token = re.search(r"csrftoken\w*=(\w+)", cookie)
        body = urlencode({**form, "csrfmiddlewaretoken": token[1]}, doseq=True) if token and form else None
        headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        if answer.status not in (200, 302):
            raise RuntimeError(f"{path} answered {answer.status}")
        return answer


@contextmanager
def _sampled(site: Running) -> Iterator[list[float]]:
    """Yield a list that receives the memory of a site, in MB: at once, and then five times a second."""
    samples, done = [site.memory_mb], threading.Event()

    def sample() -> None:
        while not done.wait(0.2):
            samples.append(site.memory_mb)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
