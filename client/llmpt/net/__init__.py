"""Asking over a network, with one deadline for everything: the name, the connection, the question, the answer's head and body.

names: the addresses of a host, remembered
connecting: a connection to one of them
http: a request, and its answer
within: a call that knows no deadline of its own

In the user's process, too: standard library only, and no lock that a fork could catch held.
"""
