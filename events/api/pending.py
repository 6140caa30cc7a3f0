"""A response to events that wait for their commit."""

from collections.abc import Callable

from django.http import HttpResponse

# The key of the WSGI environ with which a server says that it completes responses itself.
IS_COMPLETED_BY_SERVER = "telemetry.completes_responses"


class PendingResponse(HttpResponse):
    """A response without its status and content. The server calls `complete` before it sends the response.

    So a thread of the server can first begin further requests, and one commit stores the events of all of them.
    """

    def __init__(self, answer: Callable[[], HttpResponse], content_type: str) -> None:
        super().__init__(content_type=content_type)
        self._answer = answer

    def complete(self) -> None:
        """Wait for the commit, and take the status, the content and the further headers from the answer."""
        answer = self._answer()
        self.status_code = answer.status_code
        self.content = answer.content
        for name, value in answer.headers.items():
            self.headers.setdefault(name, value)
