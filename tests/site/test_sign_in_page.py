"""`/admin/login/`: who tries too often waits, and keeps nobody else out."""

import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client, override_settings

from events.ingest import guards
from telemetry_site.sign_in import BY_ACCOUNT, BY_ACCOUNT_AND_ADDRESS, BY_ADDRESS, BY_BROWSER
from tests.conftest import run_apart, turn_clock_to
from tests.servers import served_prepared

pytestmark = pytest.mark.django_db
PATH = "/admin/login/"
PASSWORD = "correct horse battery"
MINE, ATTACKER = "192.0.2.1", "203.0.113.66"


@pytest.fixture(autouse=True)
def maintainer() -> User:
    return User.objects.create_superuser("maintainer", password=PASSWORD)


@pytest.fixture(autouse=True)
def _one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    turn_clock_to(monkeypatch, 1_800_000_000)


def attempt(
    password: str = "wrong", *, browser: Client | None = None, address: str = ATTACKER, name: str = "maintainer"
) -> Any:
    return (browser or Client()).post(PATH, {"username": name, "password": password}, REMOTE_ADDR=address)


def test_too_many_attempts_are_refused_with_a_wait(memory: None) -> None:
    for _ in range(BY_ACCOUNT_AND_ADDRESS.attempts):
        assert attempt().status_code == 200
    answer = attempt(PASSWORD)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= BY_ACCOUNT_AND_ADDRESS.seconds
    assert re.search(r"Too many failed attempts\. Try again in \d+ minutes?, or from a", answer.content.decode())
    assert not answer.cookies.get(settings.SESSION_COOKIE_NAME)


@pytest.mark.parametrize(
    ("passed", "wait"), [(0, "15 minutes"), (839, "2 minutes"), (840, "1 minute"), (899, "1 minute")]
)
def test_the_page_says_how_many_minutes_to_wait(monkeypatch: pytest.MonkeyPatch, passed: int, wait: str) -> None:
    turn_clock_to(monkeypatch, 1_800_000_000 + passed)
    for _ in range(BY_ACCOUNT_AND_ADDRESS.attempts + 1):
        answer = attempt()
    assert f"Too many failed attempts. Try again in {wait}, or from a" in answer.content.decode()


def test_sign_in_is_possible_again_after_the_wait(memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(BY_ACCOUNT_AND_ADDRESS.attempts + 1):
        answer = attempt()
    turn_clock_to(monkeypatch, 1_800_000_000 + int(answer.headers["Retry-After"]))
    assert attempt(PASSWORD).status_code == 302


def test_signing_in_counts_against_nobody(memory: None) -> None:
    for _ in range(BY_ADDRESS.attempts + BY_ACCOUNT.attempts):
        assert attempt(PASSWORD).status_code == 302
    assert attempt().status_code == 200


def test_an_empty_form_is_no_attempt() -> None:
    for _ in range(BY_ADDRESS.attempts + 1):
        assert attempt("").status_code == 200


def test_guesses_at_one_account_do_not_hold_up_its_owner_elsewhere() -> None:
    for _ in range(BY_ADDRESS.attempts * 2):
        attempt()
    assert attempt(PASSWORD, address=MINE).status_code == 302


def test_an_address_is_limited_whatever_names_it_tries() -> None:
    for number in range(BY_ADDRESS.attempts):
        assert attempt(name=f"someone-{number}").status_code == 200
    assert attempt(name="another").status_code == 429
    assert attempt(name="another", address=MINE).status_code == 200


def test_addresses_of_one_ipv6_network_are_one() -> None:
    for number in range(BY_ACCOUNT_AND_ADDRESS.attempts):
        assert attempt(address=f"2001:db8:0:1::{number:x}").status_code == 200
    assert attempt(address="2001:db8:0:1:ffff::1").status_code == 429
    assert attempt(address="2001:db8:0:2::1").status_code == 200


@override_settings(TRUSTED_PROXY_COUNT=0)
def test_a_forged_forwarding_is_no_other_address() -> None:
    for number in range(BY_ACCOUNT_AND_ADDRESS.attempts + 1):
        form = {"username": "maintainer", "password": "wrong"}
        answer = Client().post(PATH, form, headers={"x-forwarded-for": f"192.0.2.{number}"})
    assert answer.status_code == 429


def attack_from_everywhere() -> None:
    """Use up what strangers have for the account, from an address of its own for every guess."""
    for number in range(BY_ACCOUNT.attempts):
        assert attempt(address=f"198.51.100.{number}").status_code == 200
    assert attempt(address="198.51.100.200").status_code == 429


def test_an_attack_from_everywhere_is_slowed_and_keeps_no_known_browser_out(memory: None) -> None:
    browser = Client()
    assert attempt(PASSWORD, browser=browser, address=MINE).status_code == 302
    attack_from_everywhere()
    assert attempt(PASSWORD, address=MINE).status_code == 429  # a new browser must wait
    for _ in range(BY_BROWSER.attempts - 1):
        assert attempt(browser=browser, address=ATTACKER).status_code == 200
    assert attempt(PASSWORD, browser=browser, address="192.0.2.77").status_code == 302


def test_an_attack_on_one_account_keeps_no_other_out() -> None:
    User.objects.create_superuser("colleague", password=PASSWORD)
    attack_from_everywhere()
    assert attempt(PASSWORD, name="colleague", address=MINE).status_code == 302


def test_an_account_that_is_not_there_is_answered_as_one_that_is() -> None:
    answered = []
    for name in ("maintainer", "nobody"):
        answers = [attempt(name=name, address=MINE) for _ in range(BY_ACCOUNT_AND_ADDRESS.attempts + 1)]
        answered.append([(answer.status_code, answer.headers.get("Retry-After")) for answer in answers])
    assert answered[0] == answered[1]


def test_a_known_browser_guesses_no_more_than_any_other() -> None:
    browser = Client()
    attempt(PASSWORD, browser=browser)
    for _ in range(BY_BROWSER.attempts):
        assert attempt(browser=browser).status_code == 200
    assert attempt(PASSWORD, browser=browser).status_code == 429


def test_a_browser_that_is_known_by_one_account_is_a_stranger_to_others() -> None:
    User.objects.create_user("colleague", password=PASSWORD, is_staff=True)
    browser = Client()
    assert attempt(PASSWORD, browser=browser, name="colleague").status_code == 302
    for _ in range(BY_ACCOUNT_AND_ADDRESS.attempts):
        assert attempt(browser=browser).status_code == 200
    assert attempt(browser=browser).status_code == 429


@pytest.mark.parametrize("change", [lambda value: value[:-1], lambda value: "x" + value, lambda _: ""])
def test_a_forged_cookie_makes_no_browser_known(change: Any) -> None:
    browser = Client()
    attempt(PASSWORD, browser=browser)
    name = settings.KNOWN_BROWSER_COOKIE_NAME
    browser.cookies[name] = change(browser.cookies[name].value)
    attack_from_everywhere()
    assert attempt(PASSWORD, browser=browser, address=MINE).status_code == 429


def test_the_cookie_of_a_known_browser_is_for_this_page_alone_and_names_nobody() -> None:
    cookie = attempt(PASSWORD).cookies[settings.KNOWN_BROWSER_COOKIE_NAME]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == (PATH, True, "Lax")
    assert "maintainer" not in cookie.value


def test_who_may_not_sign_in_is_not_known() -> None:
    User.objects.create_user("visitor", password=PASSWORD)
    assert settings.KNOWN_BROWSER_COOKIE_NAME not in attempt(PASSWORD, name="visitor").cookies


def test_neither_name_nor_address_is_remembered() -> None:
    backend = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": uuid.uuid4().hex}
    with override_settings(CACHES={"default": backend}):
        attempt()
        kept = repr(caches["default"]._cache)  # type: ignore[attr-defined]
    assert kept.count("sign-in.") == 3
    assert "maintainer" not in kept
    assert ATTACKER not in kept


def test_without_its_redis_each_process_counts_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    away = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    process = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": uuid.uuid4().hex}
    with override_settings(CACHE_URL=away["LOCATION"], CACHES={"default": away, "process": process}):
        guards.forget_absence()
        for _ in range(BY_ACCOUNT_AND_ADDRESS.attempts):
            assert attempt().status_code == 200
        assert attempt().status_code == 429
        assert attempt(PASSWORD, address=MINE).status_code == 302
    guards.forget_absence()
    assert "Sign-ins are counted in this process alone" in caplog.text


def test_cookies_are_kept_from_scripts_other_sites_and_plain_http(data_dir: Path) -> None:
    asked = (
        "import django; django.setup()\n"
        "from django.test import Client\n"
        "client = Client(headers={'host': 'telemetry.example.org', 'x-forwarded-proto': 'https'})\n"
        "answer = client.post('/admin/login/', {'username': 'admin', 'password': 'a password for tests'})\n"
        "for name in sorted(answer.cookies):\n"
        "    cookie = answer.cookies[name]\n"
        "    fields = [cookie[field] for field in ('secure', 'httponly', 'samesite', 'domain', 'path')]\n"
        "    print(name.rpartition('_')[0], *fields)\n"
    )
    result = run_apart(asked, DATA_DIR=str(data_dir), SITE_URL="https://telemetry.example.org", TRUSTED_PROXY_COUNT="1")
    assert result.stdout.splitlines()[-3:] == [
        "csrftoken True True Lax  /",
        "known_browser True True Lax  /admin/login/",
        "sessionid True True Lax  /",
    ], result.stderr


def test_two_sites_on_one_host_keep_a_browser_signed_in_to_both(make_data_dir: Callable[[], Path]) -> None:
    folders = make_data_dir(), make_data_dir()
    (folders[1] / "secret_key").write_text("the key of another site " * 3)
    with served_prepared(folders[0]) as first, served_prepared(folders[1]) as second:
        jar: dict[str, str] = {}  # as a browser keeps cookies: by name, for every port of the host
        for site in (first, second):
            jar |= dict(cookie.split("=", 1) for cookie in site.sign_in().split("; "))
        cookies = "; ".join(f"{name}={value}" for name, value in jar.items())
        assert [site.get("/admin/", Cookie=cookies)[0] for site in (first, second)] == [200, 200]


def test_servers_of_one_site_use_the_same_cookie_names(tmp_path: Path) -> None:
    code = (
        "from django.conf import settings\n"
        "print(settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, settings.KNOWN_BROWSER_COOKIE_NAME)"
    )
    first, second = (
        run_apart(code, DATA_DIR=str(tmp_path / name), SECRET_KEY="k" * 50).stdout for name in ("first", "second")
    )
    assert re.fullmatch(r"sessionid_(\w{8}) csrftoken_\1 known_browser_\1\n", first)
    assert first == second


def test_signing_in_gives_a_session_of_its_own_and_signing_out_ends_it() -> None:
    browser = Client()
    browser.get(PATH)
    attempt(PASSWORD, browser=browser)
    first = browser.cookies[settings.SESSION_COOKIE_NAME].value
    assert browser.get("/admin/").status_code == 200
    browser.post("/admin/logout/")
    browser.cookies[settings.SESSION_COOKIE_NAME] = first
    assert browser.get("/admin/").status_code == 302
