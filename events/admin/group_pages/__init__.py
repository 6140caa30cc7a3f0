"""Parts of the admin of failure groups, with the pages of one task each: `merges` and `advice`. They write no table."""
