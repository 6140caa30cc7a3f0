"""`GET /demo/`: a pretend flasher, there with DEMO=1 alone."""

import re

from django.test import Client, override_settings


def test_without_demo_there_is_no_such_page(client: Client) -> None:
    answer = client.get("/demo/")
    assert (answer.status_code, answer.json()) == (404, {"ok": False, "error": "Not found"})


@override_settings(DEMO=True)
def test_the_page_needs_nothing_that_the_policy_forbids(client: Client) -> None:
    answer = client.get("/demo/")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert re.findall(r"<style| style=| on\w+=|<script>", page) == []
    assert {source.partition("/")[0] for source in re.findall(r'(?:src|href)="/?([^"]+)"', page)} == {
        "static",
        "admin",
        "api",
    }
