"""What a route asks of a signed token."""

from events.ingest import tokens
from events.ingest.tokens import Scope


def admit(token: str, scope: Scope = Scope.INGEST) -> bool:
    """Return whether a token is valid and has a scope; its use is recorded."""
    found = tokens.find(token)
    return found is not None and tokens.use(found, scope)
