"""The server: it receives requests from Granian and sends the responses.

`rsgi` reads heads and bodies, refuses early, and hands each request to a thread pool of `threads`. `streaming` sends
long answers at the speed of their reader. Nothing here writes a table.
"""
