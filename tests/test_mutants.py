"""`make mutants`: which mutants a module has, and which tests can notice one."""

import ast

import pytest

from tests.mutants.__main__ import Suite
from tests.mutants.mutations import Mutant, mutants_of


def mutated(source: str) -> list[str]:
    """Return the source of each mutant, and check that it is Python."""
    changed = [mutant.apply(source.encode()).decode() for mutant in mutants_of("a.py", source.encode())]
    for text in changed:
        ast.parse(text)
    return changed


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("a == b", ["a != b"]),
        ("a < b", ["a <= b", "a >= b"]),
        ("a < b <= c", ["a <= b <= c", "a >= b <= c", "a < b < c", "a < b > c"]),
        ("a is not None", ["a is None"]),
        ("(a) not in (b)", ["(a) in (b)"]),
        ("a + b * c", ["a - b * c", "a + b / c"]),
        ("a ** b // c", ["a * b // c", "a ** b * c"]),
        ("total += 1", ["total -= 1"]),
        ("a and b or c", ["a or b or c", "a and b and c"]),
        ("x = not (a or b)", ["x =  (a or b)", "x = not (a and b)"]),
        ("-a", ["a"]),
        ("x if a.b else y", ["x if not a.b else y"]),
        ("x if a == b else y", ["x if a != b else y"]),
        ("[a for a in b if f(a)]", ["[a for a in b if not f(a)]"]),
        ("(a  # or < this\n < b)", ["(a  # or < this\n <= b)", "(a  # or < this\n >= b)"]),
        ("'ü' == a", ["'ü' != a"]),
        ("def f(a: int | None = -1) -> int | str: ...", ["def f(a: int | None = 1) -> int | str: ..."]),
        ("a: int | None = None", []),
        ("f'{a + b}'", []),
        ("a = 'b' 'c', 1, True", []),
    ],
)
def test_each_operator_and_condition_gives_its_mutants(source: str, changed: list[str]) -> None:
    assert mutated(source) == changed


MODULE = b"""\
LIMIT = 3 * 4

def first(a, b=-1):
    if a > (
        LIMIT
    ):
        return a + 1
    match b:
        case 1 if a != b:
            return None
"""


def test_a_mutant_belongs_to_the_lines_of_its_statement_or_its_head() -> None:
    places = {
        (mutant.line, mutant.after): (list(mutant.lines), mutant.is_in_function)
        for mutant in mutants_of("a.py", MODULE)
    }
    assert places == {
        (1, "/"): ([1], False),
        (3, ""): ([3], False),
        (4, ">="): ([4, 5, 6], True),
        (4, "<="): ([4, 5, 6], True),
        (7, "-"): ([7], True),
        (9, "=="): ([9], True),
    }


def test_a_mutant_is_shown_with_its_line_before_and_after() -> None:
    [mutant] = [mutant for mutant in mutants_of("a.py", MODULE) if mutant.line == 7]
    assert mutant.describe(MODULE) == "a.py:7\n    - return a + 1\n    + return a - 1"


def mutant_on(line: int, *, path: str = "events/charts.py", is_in_function: bool = True) -> Mutant:
    return Mutant(path, line, range(line, line + 2), is_in_function, 0, 0, "")


SUITE = Suite(
    {"events/charts.py": {1: ["", "tests/test_a.py::test_one"], 7: ["tests/test_b.py"], 8: [""]}},
    [
        "tests/test_a.py::test_one",
        "tests/test_b.py::test_three",
        "tests/test_b.py::test_two",
        "tests/test_charts.py::test_x",
    ],
    {"tests/test_a.py": 1.0, "tests/test_b.py": 2.0, "tests/test_charts.py": 3.0},
)


def test_a_mutant_is_run_against_the_tests_that_run_its_statement() -> None:
    assert SUITE.tests_of(mutant_on(1)) == ["tests/test_a.py::test_one"]
    assert SUITE.tests_of(mutant_on(7)) == ["tests/test_b.py::test_three", "tests/test_b.py::test_two"]
    assert SUITE.tests_of(mutant_on(8)) == []
    assert SUITE.tests_of(mutant_on(1, path="events/unknown.py")) == []


def test_a_mutant_that_runs_at_import_is_run_against_every_test() -> None:
    assert SUITE.tests_of(mutant_on(8, is_in_function=False)) == SUITE.tests


def test_the_tests_of_the_module_itself_come_first() -> None:
    assert SUITE.files_of(mutant_on(1), SUITE.tests) == ["tests/test_charts.py", "tests/test_a.py", "tests/test_b.py"]
