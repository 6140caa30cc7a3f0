"""The channels of alerts: who gets which message, and how it is sent.

`roster` alone writes the table of channels. `sealing` encrypts their URLs. `urls` checks what an operator enters.
`sending` sends one message, by `mail` or by `program`, a process of its own that runs Apprise. `enclosure` keeps that
process from private addresses and from files. `addresses` decides which addresses are public. `trials` sends test
messages.
"""
