"""*About this site*: the report of `manage.py doctor` as a page, and the version in the footer."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection
from django.test import Client

from events import clock
from events.counting import site_days
from events.models import SiteDay
from telemetry_site import __version__
from tests.conftest import sign_in, text_of

pytestmark = pytest.mark.django_db
PATH = "/admin/about/"


def test_the_page_shows_the_report(client: Client) -> None:
    sign_in(client, "Staff")
    text = text_of(client.get(PATH, headers={"X-Forwarded-For": "192.0.2.1"}))
    assert "<h1>About this site</h1>" in text
    assert '<bdi>Site</bdi><span class="visually-hidden">:</span></span>' in text
    assert f'<bdi class="state">{__version__}</bdi>' in text
    assert "Set TRUSTED_PROXY_COUNT to the number of your own proxies, probably 1, and restart." in text
    assert f'id="report-text" tabindex="0" aria-labelledby="as-text">Telemetry site {__version__}, report of' in text
    assert '<button type="button" class="copy" data-copy="report-text" hidden>Copy</button>' in text
    assert "<code>manage.py doctor</code>" in text
    assert "192.0.2.1" not in text


def test_the_page_and_the_footer_are_for_those_who_may_view_events(client: Client) -> None:
    assert client.get(PATH).status_code == 302
    assert "site-version" not in text_of(client.get("/admin/login/"))
    sign_in(client)
    assert client.get(PATH).status_code == 403
    client.force_login(User.objects.create_superuser("root"))
    bar = text_of(client.get("/admin/auth/user/"))
    assert bar.count('<a href="/admin/about/">About this site</a>') == 2  # in the menu and in the footer
    assert f"Telemetry {__version__} ·" in bar


def test_a_page_records_the_headers_of_proxies_once(client: Client) -> None:
    sign_in(client, "Staff")
    for page in ("/admin/", PATH):
        client.get(page, headers={"X-Forwarded-For": "192.0.2.1, 192.0.2.2", "X-Forwarded-Proto": "https"})
    [day] = SiteDay.objects.all()
    assert day.proxy_headers == '{"addresses": 2, "proto": "https", "others": []}'
    client.get(PATH)
    noted = site_days.last_proxy_headers()
    assert noted == (clock.today(), '{"addresses": 0, "proto": "", "others": []}')


def test_a_database_that_refuses_writes_still_shows_the_page(client: Client) -> None:
    def refuse(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("INSERT INTO events_siteday"):
            raise DatabaseError("attempt to write a readonly database")
        return execute(sql, *rest)

    sign_in(client, "Staff")
    with connection.execute_wrapper(refuse):
        assert client.get(PATH).status_code == 200
    assert not SiteDay.objects.exists()
