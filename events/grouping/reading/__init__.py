"""Reads one failure: what is constant in its message, which error it is, and where it occurred.

`wordings` recognises the error messages of all browsers, `texts` masks the values in other messages, and `frames` finds
the place in a stack. `names` judges the names of files and functions. The modules only compute; they write no table.
"""
