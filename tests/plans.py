"""How the database would find the rows of a query."""

import re

from django.db import connection

# By a bound on a column of an index, in the words of either engine.
_SOUGHT = r"SEARCH \w+ USING (?:COVERING )?INDEX \S+ \((?P<sqlite>.*)\)|Index Cond: \((?P<postgresql>.*)\)"


def sought_by(query: str) -> list[str]:
    """Return by what each index is entered; raises when a whole table or index is walked.

    PostgreSQL looks at what there is, so it wants a hundred events and groups, and is asked as if they were too many
    to read.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE telemetry_events, events_failuregroup")
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"{'EXPLAIN' if connection.vendor == 'postgresql' else 'EXPLAIN QUERY PLAN'} {query}")
        plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
    assert not re.search(r"\bSCAN\b|Seq Scan", plan), plan
    found = [match["sqlite"] or match["postgresql"] for match in re.finditer(_SOUGHT, plan)]
    assert found, plan
    return found
