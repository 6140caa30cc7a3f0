"""Reads one failure: what is constant in its message, which error it is, and where it occurred.

`errors` recognises the error messages of all browsers by the table in `wordings`. `texts` masks the values in other
messages, and `frames` finds the place in a stack. `names` judges the names of files and functions. The modules only
compute; they write no table.
"""
