"""What the filters of a search mean in each list, and what the lists refuse in words."""

from typing import Any

import pytest
from django.http import QueryDict
from django.utils.http import urlencode

from events.reports.forms import EventFilter, GroupFilter

NOW_MS = 1_796_000_000_000
FORMS = {"failures": EventFilter, "groups": GroupFilter}


def form_of(name: str, **parameters: str) -> Any:
    form = FORMS[name](QueryDict(urlencode(parameters)))
    form.is_valid()
    return form


@pytest.mark.parametrize(
    ("name", "q", "normal"),
    [
        ("failures", "model:UV-17R", {"model": "UV-17R"}),
        ("failures", "model:UV-17R No ACK", {"model": "UV-17R", "q": "No ACK"}),
        ("failures", "VERSION:dev type:Connect-Error", {"version": "dev", "type": "connect_error"}),
        ("failures", "mode:write connected:no", {"mode": "1", "connected": "0"}),
        ("failures", 'mode:"no write" -connected:no', {"mode": "0", "connected": "1"}),
        ("failures", "-mode:1", {"mode": "0"}),
        ("failures", 'browser:"Chrome 139" f.os:Linux', {"f.browser": "Chrome 139", "f.os": "Linux"}),
        ("failures", "-expected", {"expected": "0"}),
        ("failures", "-is:expected", {"expected": "0"}),
        ("failures", "is:expected", {"expected": "1"}),
        ("failures", "expected:any", {"expected": "any"}),
        ("failures", "since:7d", {"window": "7d"}),
        ("failures", "since:36H", {"since": "36h"}),
        ("failures", "since:2026-11-01 until:2026-11-30", {"since": "2026-11-01", "until": "2026-12-01"}),
        ("failures", "until:2026-02-28", {"until": "2026-03-01"}),
        ("failures", "-model:A -model:B -version:dev", {"q": "-model:A -model:B -version:dev"}),
        ("failures", '-f.browser:"Chrome 139" x y', {"q": '-browser:"Chrome 139" "x y"'}),
        ("failures", "-type:connect_error -type:connect-error", {"q": "-type:connect_error"}),
        ("failures", "model:A model:A", {"model": "A"}),
        ("failures", "model:A -model:B", {"model": "A", "q": "-model:B"}),
        ("failures", 'model:A "x y"', {"model": "A", "q": "x y"}),
        ("failures", 'model:A "os:Linux"', {"model": "A", "q": '"os:Linux"'}),
        ("failures", "status:404 assigned:x", {"q": "status:404 assigned:x"}),
        ("failures", "  TypeError: foo ", {"q": "  TypeError: foo "}),
        ("groups", "is:resolved", {"status": "resolved"}),
        ("groups", "status:still-failing", {"status": "still_failing"}),
        ("groups", "is:mine is:mine", {"status": "mine"}),
        ("groups", "is:all -expected -is:muted", {"status": "all", "q": "-is:expected -is:muted"}),
        ("groups", "fixed:19afc18 assigned:anna", {"fixed": "19afc18", "assigned": "anna"}),
        ("groups", "-fixed:dev -assigned:(nobody)", {"q": "-fixed:dev -assigned:(nobody)"}),
        ("groups", "mode:write os:Linux", {"mode": "1", "f.os": "Linux"}),
        ("groups", "since:7d until:2026-11-30", {"since": "7d", "until": "2026-12-01"}),
    ],
)
def test_the_normal_form_of_a_search(name: str, q: str, normal: dict[str, str]) -> None:
    form = form_of(name, q=q)
    assert form.errors == {}
    assert form.data.dict() == normal
    again = FORMS[name](form.data)
    assert again.is_valid()
    assert again.data.dict() == normal
    meaning = [
        one.criteria(NOW_MS) if isinstance(one, EventFilter) else one.ranking(NOW_MS, None) for one in (form, again)
    ]
    assert meaning[0] == meaning[1]


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("failures", {"q": "since:2026-13-01"}, "since:2026-13-01 is not a date. Write since:2026-11-30, since:7d or"),
        ("failures", {"q": "until:7d"}, "until:7d is not a date. Write until:2026-11-30."),
        ("failures", {"q": "since:0d"}, "since:0d is not a date."),
        ("failures", {"q": "until:9999-12-31"}, "until:9999-12-31 is not a date."),
        ("failures", {"q": "since:٢٠٢٦-١١-٠١"}, "is not a date."),
        ("failures", {"q": "since:2026-11-02 until:2026-11-01"}, "until:2026-11-01 is before since:2026-11-02"),
        ("failures", {"q": "type:foo"}, "There is no type:foo. Write type:flash_error, type:connect_error,"),
        ("failures", {"q": "type:flash_success"}, "There is no type:flash_success."),
        ("failures", {"q": "mode:maybe"}, "There is no mode:maybe. Write mode:write or mode:no-write."),
        ("failures", {"q": "is:open"}, "There is no is:open. Write is:expected."),
        ("failures", {"q": "model:" + "x" * 65}, "model: has at most 64 characters; x"),
        (
            "failures",
            {"q": "-since:7d"},
            "-since: does not work. Write -model:, -version:, -type:,",
        ),
        ("failures", {"q": "-expected:any"}, "-expected:any would exclude everything."),
        ("failures", {"q": "model:A model:B"}, "model:A and model:B contradict each other. Keep one of them."),
        ("failures", {"q": "since:7d since:2026-11-01"}, "since:7d and since:2026-11-01 contradict each other."),
        ("failures", {"q": "-expected is:expected"}, "contradict each other."),
        ("failures", {"q": "mode:write -mode:write"}, "mode:write and -mode:write contradict each other."),
        ("failures", {"q": "model:A -model:A"}, "model:A and its exclusion contradict each other."),
        ("failures", {"q": "model:A", "model": "B"}, "The search sets Model to A, but the filter below is B."),
        ("failures", {"q": "-model:A", "model": "A"}, "The search excludes Model A, but the filter below is the same."),
        ("failures", {"q": 'model:A "x'}, "The quote before x is never closed."),
        ("groups", {"q": "is:closed"}, "There is no is:closed. Write is:open, is:mine,"),
        ("groups", {"q": "is:resolved", "status": "open"}, "The search sets Status to resolved, but the filter below"),
        ("groups", {"q": "is:open status:muted"}, "is:open and status:muted contradict each other."),
        ("groups", {"q": "-is:all"}, "-is:all would exclude everything."),
        ("groups", {"q": "-model:" + "x" * 65}, "model: has at most 64 characters"),
    ],
)
def test_a_search_with_a_fault_is_refused_in_words(name: str, parameters: dict[str, str], said: str) -> None:
    form = form_of(name, **parameters)
    assert list(form.errors) == ["q"]
    assert said in " ".join(form.errors["q"])
    assert form.data.dict() == parameters


def test_every_fault_is_named_at_once() -> None:
    assert len(form_of("failures", q="type:foo mode:bar since:never").errors["q"]) == 3


def test_a_list_says_what_it_reads_unless_that_is_obvious() -> None:
    for q, words in {
        "No ACK": [],
        "model:A No ACK": [],
        "http://x": [("Text", "http://x")],
        "status:404": [("Text", "status:404")],
        "-version:dev -os:Linux x": [("Not version", "dev"), ("Not OS", "Linux"), ("Text", "x")],
        '"a" "b"': [("Text", "a"), ("Text", "b")],
    }.items():
        assert form_of("failures", q=q).read_as == words


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    "q", ["\0", "model:\0", "\ud800", "\u202emodel:x", '"' * 10_000, "model:" * 80, "-" * 500, "\\" * 500, '"\\' * 250]
)
def test_hostile_input_is_valid_or_refused(name: str, q: str) -> None:
    form = FORMS[name]({"q": q})
    assert form.is_valid() or list(form.errors) == ["q"]


def test_facets_with_the_name_of_another_filter_need_their_prefix(settings: Any) -> None:
    settings.FACETS = ("model", "since", "step")
    form = form_of("failures", q="model:A f.model:B since:7d step:read")
    assert form.data.dict() == {"model": "A", "f.model": "B", "window": "7d", "f.step": "read"}
