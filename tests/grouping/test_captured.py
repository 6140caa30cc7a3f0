"""The groups of failures that real browsers reported: builds and browsers that belong together, faults that do not."""

import re
from collections import Counter

import pytest

from tests.grouping.captured import BROWSERS, BUILDS, FIXTURE, GOALS, Captured, Goal, Groups, captured


@pytest.fixture(scope="module")
def groups() -> Groups:
    return Groups(captured())


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: "-".join(goal.browsers))
def test_one_fault_is_one_group_in_builds_and_browsers(groups: Groups, goal: Goal) -> None:
    [result] = [result for result in groups.results() if result.goal == goal]
    assert result.together >= result.required, f"{result}\n{groups.table()}"


def test_two_faults_are_never_one_group(groups: Groups) -> None:
    assert groups.shared() == []


def test_each_browser_reported_at_least_thirty_faults_from_both_builds() -> None:
    reports = Counter((failure.fault, failure.browser, failure.build) for failure in captured())
    assert set(reports.values()) == {1}
    for browser in BROWSERS:
        faults = [{fault for fault, *where in reports if where == [browser, build]} for build in BUILDS]
        assert faults[0] == faults[1]
        assert len(faults[0]) >= 30


def test_builds_have_other_bundles_and_other_places() -> None:
    stacks = {(one.fault, one.browser, one.build): one.stack for one in captured() if "index-" in (one.stack or "")}
    pairs = [
        (stack, stacks.get((fault, browser, "b"))) for (fault, browser, build), stack in stacks.items() if build == "a"
    ]
    assert pairs
    assert [one for one, other in pairs if one == other] == []


def test_fixture_names_no_machine() -> None:
    text = FIXTURE.read_text(encoding="utf-8")
    assert re.findall(r"/(?:home|root|tmp|usr|var)/\S+|[A-Z]:\\|\d+\.\d+\.\d+\.\d+|localhost|file:", text) == []


def failure(fault: str, message: str, browser: str = "chromium", build: str = "a") -> Captured:
    return Captured(fault, build, browser, "window_error", message, None, None, [])


def test_results_count_faults_that_all_browsers_of_the_goal_produce() -> None:
    everywhere = [failure("everywhere", "No ACK", browser, build) for browser in BROWSERS for build in BUILDS]
    split = [failure("split", f"Lost by {build}", "webkit", build) for build in BUILDS]
    results = Groups([*everywhere, *split]).results()
    assert [(result.together, result.produced, result.required) for result in results] == [
        (1, 1, 1),
        (1, 1, 1),
        (1, 2, 2),
        (1, 1, 1),
        (1, 1, 1),
    ]


def test_a_group_of_two_faults_is_listed() -> None:
    assert Groups([failure("one", "No ACK"), failure("other", "No ACK"), failure("third", "Lost")]).shared() == [
        ("one", "other")
    ]


def test_the_client_reported_the_cause_of_an_error_in_each_browser() -> None:
    with_causes = {failure.browser: failure.causes for failure in captured() if failure.fault == "error_with_cause"}
    assert set(with_causes) == set(BROWSERS)
    for causes in with_causes.values():
        assert [set(cause) for cause in causes] == [{"name", "message", "frame"}]
        assert all(causes[0][part] for part in ("name", "message", "frame"))
