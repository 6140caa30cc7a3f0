"""Django's own pages, users, groups, passwords, in the site's clothes."""

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

pytestmark = pytest.mark.django_db
PAGES = [
    "/admin/",
    "/admin/events/",
    "/admin/auth/",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
    "/admin/auth/user/{user}/change/",
    "/admin/auth/user/{user}/password/",
    "/admin/auth/user/{user}/history/",
    "/admin/auth/user/{user}/delete/",
    "/admin/auth/group/",
    "/admin/auth/group/{group}/change/",
    "/admin/password_change/",
    "/admin/password_change/done/",
]


@pytest.fixture
def root(client: Client) -> User:
    user = User.objects.create_superuser("root", password="correct horse battery")
    client.force_login(user)
    return user


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_the_same_bar(client: Client, root: User, path: str) -> None:
    group = Group.objects.get(name="Staff")
    answer = client.get(path.format(user=root.pk, group=group.pk))
    assert answer.status_code == 200
    bar = answer.content.decode().split('<header id="header">')[1].split("</header>")[0]
    links = [
        "/admin/", "/admin/events/recentfailure/", "/admin/events/event/", "/api/", "/admin/events/counterbaseline/",
        "/admin/events/ingesttoken/", "/admin/auth/user/", "/admin/auth/group/", "/admin/password_change/",
    ]  # fmt: skip
    assert [link for link in links if f'href="{link}"' not in bar] == []
    assert ">Password</a>" in bar
    assert "Change password" not in bar
    assert bar.count('action="/admin/logout/"') == 1


def test_who_may_see_no_page_gets_no_menu(client: Client) -> None:
    client.force_login(User.objects.create_user("newcomer", is_staff=True))
    assert '<details class="more">' not in client.get("/admin/").content.decode()


def test_the_menu_marks_the_page_one_is_on(client: Client, root: User) -> None:
    text = client.get("/admin/events/ingesttoken/").content.decode()
    assert '<a href="/admin/events/ingesttoken/" aria-current="page">Tokens</a>' in text


def test_logging_out_leads_back_to_the_login(client: Client, root: User) -> None:
    text = client.post("/admin/logout/").content.decode()
    assert 'You are logged out. <a href="/admin/">Log in again</a>' in text
    assert client.get("/admin/").status_code == 302


def test_a_wrong_password_is_explained(client: Client, root: User) -> None:
    client.logout()
    answer = client.post("/admin/login/", {"username": "root", "password": "wrong"})
    assert "Please enter the correct username and password" in answer.content.decode()
