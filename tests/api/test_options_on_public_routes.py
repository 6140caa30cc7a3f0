"""`OPTIONS` on a public route that is no browser's preflight: a monitor's, or a curious person's."""

import pytest
from django.test import Client
from django.urls import URLPattern, reverse

from telemetry_site.public_urls import urlpatterns


@pytest.mark.django_db
@pytest.mark.parametrize("route", urlpatterns, ids=str)
def test_options_without_a_preflight_is_answered(client: Client, route: URLPattern) -> None:
    answer = client.options(reverse(str(route.name)))
    assert answer.status_code == 200
    assert answer.json() == {"ok": True}
    assert "OPTIONS" in answer.headers["Allow"]
    assert answer.headers["Cache-Control"] == "no-store"
