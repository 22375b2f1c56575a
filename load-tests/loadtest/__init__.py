"""What load tests are made of: scenarios, callers, generators, rounds, reports.

Python's standard library, and two of Debian's packages: `cryptography` signs tokens, `websockets`
speaks WebSocket. `tests/install-prerequisites load` brings them.
"""
