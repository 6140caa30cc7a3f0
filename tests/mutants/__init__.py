"""Mutation testing: change one operator at a time, and see whether a test fails."""
