"""Tests of the load tests: `make test-load`."""
