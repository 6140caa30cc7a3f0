"""A failure group, or one failure, as text for an issue: as Markdown to copy, and as the address of a new issue.

`contents` collects the facts. `markdown` keeps texts of strangers in code spans and blocks. `masking` masks what is
personal in the text of a new issue, which is often public. `writing` writes both, and fills ISSUE_URL. No table.
"""
