"""The server adapter between Granian and Django.

`rsgi` reads heads and bodies, refuses early, and passes each request to a thread pool of `threads`. `streaming` sends
long responses with back-pressure. Nothing here writes a table.
"""
