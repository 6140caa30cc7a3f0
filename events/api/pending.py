"""A response to events that wait for their commit."""

from collections.abc import Callable
from typing import NamedTuple

from django.http import HttpResponse

# The key of the WSGI environ with which a server says that it completes responses itself.
IS_COMPLETED_BY_SERVER = "telemetry.completes_responses"


class Answer(NamedTuple):
    """What only the commit decides of a response."""

    content: str
    status: int


class PendingResponse(HttpResponse):
    """A response without its status and content. The server calls `complete` before it sends the response.

    So a thread of the server can first begin further requests, and one commit stores the events of all of them.
    `answer` waits for the commit. `refuse` makes the response to an exception of it.
    """

    def __init__(
        self, answer: Callable[[], Answer], refuse: Callable[[Exception], HttpResponse], content_type: str
    ) -> None:
        super().__init__(content_type=content_type)
        self._answer = answer
        self._refuse = refuse

    def complete(self) -> None:
        try:
            self.content, self.status_code = self._answer()
        except Exception as error:
            refusal = self._refuse(error)
            self.content, self.status_code = refusal.content, refusal.status_code
            for name, value in refusal.headers.items():
                self.headers.setdefault(name, value)
