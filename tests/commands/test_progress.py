"""`events/management/progress.py`: how far a long command is."""

import io

import pytest
from django.core.management.base import OutputWrapper

from events.management.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("out", "written"),
    [
        (io.StringIO(), "10 %: 101 of 1,001\n50 %: 501 of 1,001\n100 %: 1,001 of 1,001\n"),
        (
            Terminal(),
            "\r[###                           ]  10 %  101 of 1,001"
            "\r[####                          ]  15 %  151 of 1,001"
            "\r[###############               ]  50 %  501 of 1,001"
            "\r[##############################] 100 %  1,001 of 1,001\n",
        ),
    ],
    ids=["file", "terminal"],
)
def test_a_step_is_shown_once(out: io.StringIO, written: str) -> None:
    progress = Progress(OutputWrapper(out), 1_001)
    for count in (101, 50, 350, 500):
        progress.add(count)
    progress.finish()
    assert out.getvalue() == written


def test_nothing_to_do_shows_nothing() -> None:
    out = Terminal()
    Progress(OutputWrapper(out), 0).finish()
    assert out.getvalue() == ""
