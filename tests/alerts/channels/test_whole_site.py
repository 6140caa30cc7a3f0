"""A test message from a running site: the page requests it, the process of the jobs sends it, and no secret is left."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

from tests.alerts.channels.listeners import hook
from tests.servers import Server, served_prepared, wait_until

PAGE = "/admin/events/alertchannel/"
SECRET = "s3cr3t-t0k3n"


def send(site: Server, path: str, **form: str) -> int:
    cookies = site.sign_in()
    token = next(part for part in cookies.split("; ") if part.startswith("csrftoken")).partition("=")[2]
    body = urlencode(form | {"csrfmiddlewaretoken": token}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookies, "Origin": site.env["SITE_URL"]}
    return site.post(path, body, **headers)[0]


def test_a_page_requests_a_test_message_and_the_jobs_send_it(data_dir: Path) -> None:
    with hook() as listener, served_prepared(data_dir, JOBS_WORKER="1", ALERT_ALLOW_HOSTS="localhost") as site:
        site.env["SITE_URL"] = f"http://127.0.0.1:{site.port}"
        url = f"json://localhost:{listener.port}/{SECRET}"
        assert send(site, f"{PAGE}add/", name="ops", url=url, kinds="job") == 302
        with closing(sqlite3.connect(data_dir / "telemetry.sqlite3")) as database:
            (number,) = database.execute("SELECT id FROM events_alertchannel").fetchone()
        assert send(site, f"{PAGE}{number}/change/", action="test") == 302
        wait_until(lambda: listener.requests, "no test message arrived")
        wait_until(lambda: "no message yet" not in site.command("channels").stdout, "the result was not recorded")
        (request,) = listener.requests
        assert request.path == f"/{SECRET}"
        assert "This is a test of the channel ops." in request.body
    files = [file for file in data_dir.rglob("*") if file.is_file()]
    assert len(files) > 2
    assert [file.name for file in [*files, site.log] if SECRET.encode() in file.read_bytes()] == []
