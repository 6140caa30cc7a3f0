"""What is answered when no view does."""

import pytest
from django.test import Client

from tests.conftest import sign_in


@pytest.mark.django_db
def test_a_post_to_no_route_gets_json() -> None:
    answer = Client(enforce_csrf_checks=True).post("/", {"a": "b"})
    assert (answer.status_code, answer.json()) == (403, {"ok": False, "error": "Forbidden"})


@pytest.mark.django_db
def test_a_form_without_its_token_gets_a_page() -> None:
    client = Client(enforce_csrf_checks=True)
    sign_in(client, "Maintainers")
    answer = client.post("/admin/events/counterbaseline/add/", {"value": "1"})
    assert answer.status_code == 403
    assert answer["Content-Type"].startswith("text/html")


@pytest.mark.django_db
def test_signing_in_leads_to_the_overview_whatever_next_says(client: Client) -> None:
    user = sign_in(client, "Staff")
    user.set_password("a password for tests")
    user.save()
    form = {"username": user.username, "password": "a password for tests"}
    answer = Client().post("/admin/login/?next=//evil.example", form)
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
