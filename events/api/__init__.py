"""The HTTP API: viewsets, JSON responses and the OpenAPI schema.

A view checks the request with the guards, calls one function of the domain, and responds in the shape of the contract.
Only `health` writes a table here: its probe row.
"""
