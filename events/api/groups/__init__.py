"""The routes of failure groups: their list, one group, and decisions about it. Writes no table itself."""
