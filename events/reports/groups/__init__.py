"""Reads of failure groups.

`ranking` selects and sorts groups, and `trends` finds those that returned, are new or grow. For one group, `breakdowns`
compares its failures with the other flashes, and `places` finds their original places. No module writes a table.
"""
