"""Reads of failure groups.

`ranking` selects and sorts groups, and `attention` ranks those that returned, are new, rise or wait for a decision.
`breakdowns` compares the failures of groups with the other flashes, and `places` finds original places. No module
writes a table.
"""
