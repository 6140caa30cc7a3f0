"""Saved views of lists, and the columns that an address chooses.

`addresses` reads the address of a list, `store` alone writes the views, `navigation` shows them on every page, and
`forms` and `pages` save, open, rename and delete them.
"""
