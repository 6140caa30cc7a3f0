"""Shows the progress of a long command: a bar on a terminal, otherwise a line for every tenth."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.management.base import OutputWrapper

_BAR_CELLS = 30


class Progress:
    def __init__(self, out: OutputWrapper, whole: int) -> None:
        self._out = out
        self._whole = max(whole, 1)
        self._done = 0
        self._shown = 0

    def add(self, count: int) -> None:
        self._done += count
        percent = min(100, self._done * 100 // self._whole)
        step = 1 if self._out.isatty() else 10
        if percent // step > self._shown // step:
            self._shown = percent
            self._show(percent)

    def finish(self) -> None:
        if self._out.isatty() and self._shown:
            self._write("\n")

    @contextmanager
    def until_interrupted(self, words: Callable[[], str]) -> Iterator[None]:
        """Finish the progress after the block. After Ctrl-C, write these words and end the command with 130."""
        try:
            yield
        except KeyboardInterrupt:
            self.finish()
            self._out.write(f"Interrupted{words()}")
            sys.exit(130)
        self.finish()

    def _show(self, percent: int) -> None:
        if self._out.isatty():
            cells = "#" * (percent * _BAR_CELLS // 100)
            self._write(f"\r[{cells:<{_BAR_CELLS}}] {percent:3} %  {self._done:,} of {self._whole:,}")
        else:
            self._write(f"{percent} %: {self._done:,} of {self._whole:,}\n")

    def _write(self, text: str) -> None:
        self._out.write(text, style_func=str, ending="")  # Django colours stderr red by default
        self._out.flush()
