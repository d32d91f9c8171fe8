# `make demo` and `make test` do all their set-up themselves; scripts/setup says what it installs.

.PHONY: demo test test-unit test-sim test-openstack test-lowest coverage setup lint bench bench-plug bench-forwarder bench-claims bench-start
.NOTPARALLEL:
# Tests start hundreds of processes; each would compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE

demo:
	@scripts/setup demo
	@.venv/bin/smartvif demo

test: lint
	@.venv/bin/pytest -n auto --maxprocesses 4 --dist loadfile tests

test-unit test-sim test-openstack: setup
	@.venv/bin/pytest tests/$(@:test-%=%)

test-lowest: setup
	@scripts/test-lowest

coverage: setup
	@scripts/coverage $(TESTS)

setup:
	@scripts/setup test

lint: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/reno --quiet lint

bench: bench-plug bench-forwarder bench-claims bench-start

bench-plug: setup
	@.venv/bin/python -m bench.plug

bench-forwarder: setup
	@.venv/bin/python -m bench.forwarder
	@.venv/bin/python -m bench.forwarder.migrate

bench-claims: setup
	@.venv/bin/python -m bench.claims

bench-start: setup
	@.venv/bin/python -m bench.start
