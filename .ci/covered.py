"""Read coverage's JSON report; end with status 1 if the tests ran less than 95 % of the lines or of the branches.

Coverage's own limit is for both together, where many lines hide missing branches.
"""

import json
import sys

LEAST = 95.0

totals = json.load(sys.stdin)["totals"]
lines, branches = totals["percent_statements_covered"], totals["percent_branches_covered"]
print(f"coverage: {lines:.1f} % of lines, {branches:.1f} % of branches; at least {LEAST:.0f} % of each are needed.")
sys.exit(0 if min(lines, branches) >= LEAST else 1)
