"""The HTTP interface: viewsets, the shape of answers, and the description in OpenAPI.

A view lets a request in through the guards, does one thing, and answers in the shape of the contract. Nothing here
writes a table by itself.
"""
