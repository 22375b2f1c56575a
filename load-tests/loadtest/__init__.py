"""What load tests are made of: processes, tokens, a provider, a load generator, rounds, tables.

Python's standard library and OpenSSL's command line; nothing to install.
"""
