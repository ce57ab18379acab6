# The same few commands here and in CI. Everything else is set up by them: Python 3.11 or later, git and make suffice.
#
#   make run                                the demo; make run UPSTREAM=http://127.0.0.1:9000 puts it before your API
#   make test, make test-slow               the tests; those that take long
#   make test-cost                          what hostile request heads and chunked bodies cost
#   make test-backends-quick                hostile requests replayed to real servers from PyPI and npm
#   make test-backends                      the same, and servers from Debian, which takes root
#   make check                              format, lint, types, layers
#   make bench                              the admin API with 100,000 users; throughput beside a naive proxy

VENV := .venv
BIN := $(VENV)/bin
# The newest Python that is there and works (a version manager's stand-in may not); override with PYTHON=/path/to/python.
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,\
	$(if $(shell $(name) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null | grep True),$(name))))
UPSTREAM ?=
# The servers that hostile requests are replayed to have an environment of their own.
BACKENDS := tests/backends/.venv
# Half of the tests' time is waiting, so two processes take half of it; one: make test WORKERS=0.
WORKERS ?= 2
PYTEST ?= $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
REPLAY := $(BIN)/python -m pytest -n $(WORKERS) --dist load

# pip gets exactly what constraints.txt pins, and stays quiet unless something fails.
PIP = $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt

.DELETE_ON_ERROR:
.PHONY: run test test-slow test-cost test-backends-quick test-backends check bench clean programs npm valgrind \
	backend-programs

# Install the packages $(1) from Debian, which takes root; without root, name them. $(2) needs them.
install = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "Installing $(1) …" && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null; \
	else echo "$(2) needs: $(1). As root: apt-get install $(1)" >&2; exit 1; fi

run: $(VENV)/ready-to-run
	@exec $(BIN)/sitelatch run $(if $(UPSTREAM),--upstream '$(UPSTREAM)')

test: $(VENV)/ready-to-test npm programs
	$(PYTEST) -m 'not slow and not cost and not backends'

test-slow: $(VENV)/ready-to-test npm programs
	$(BIN)/python -m pytest -m 'slow and not backends'

test-backends-quick: $(VENV)/ready-to-test $(BACKENDS)/ready
	$(REPLAY) -m 'backends and not slow' tests/backends

test-backends: $(VENV)/ready-to-test $(BACKENDS)/ready backend-programs
	$(REPLAY) -m backends tests/backends

test-cost: $(VENV)/ready-to-test valgrind
	$(BIN)/python -m pytest -m cost tests/cost

check: $(VENV)/ready-to-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/ready-to-test
	$(BIN)/python -m bench.admin
	$(BIN)/python -m bench.run

clean:
	rm -rf $(VENV) $(BACKENDS) tests/backends/node_modules tests/node_modules var

# What the tests need besides Python: a browser for those of the page, and PgBouncer for those of poolers, which Debian
# puts into /usr/sbin and starts as a service. The service is stopped and disabled.
programs:
	@missing=; \
	for name in chromium chromium-browser google-chrome none; do command -v $$name >/dev/null && break; done; \
	test $$name != none || missing=chromium; \
	PATH="$$PATH:/usr/sbin:/usr/local/sbin" command -v pgbouncer >/dev/null || missing="$$missing pgbouncer"; \
	test -z "$$missing" && exit; \
	$(call install,$$missing,make test) && \
	case $$missing in *pgbouncer*) systemctl disable --quiet --now pgbouncer 2>/dev/null || true;; esac

# Brings axe-core for the tests of the page, and servers for test-backends-quick.
npm:
	@command -v npm >/dev/null && exit; $(call install,npm,This target)

# Callgrind counts instructions.
valgrind:
	@command -v valgrind >/dev/null && exit; $(call install,valgrind,make test-cost)

$(VENV)/made:
	@test -n '$(PYTHON)' || { echo 'Sitelatch needs Python 3.11 or later: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo 'Making a virtual environment in $(VENV) …'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/ready-to-run: $(VENV)/made pyproject.toml constraints.txt
	@echo 'Installing what it needs …'
	@$(PIP) --editable '.[embedded]'
	@touch $@

$(VENV)/ready-to-test: $(VENV)/ready-to-run
	@echo 'Installing what the checks need …'
	@$(PIP) --editable '.[dev]'
	@touch $@

# Servers from Debian, for `make test-backends`. Their packages start services; these are stopped and not enabled.
BACKEND_PACKAGES := nginx apache2 libapache2-mod-php php-cli php-cgi haproxy lighttpd caddy puma ruby-sinatra golang-go \
	tomcat10 default-jdk-headless libmojolicious-perl libnginx-mod-http-lua varnish unicorn thin ruby-webrick starman \
	libplack-perl uwsgi uwsgi-plugin-python3 libapache2-mod-wsgi-py3 libjetty9-java influxdb prometheus
backend-programs:
	@missing=; \
	for name in $(BACKEND_PACKAGES); do dpkg -s $$name >/dev/null 2>&1 || missing="$$missing $$name"; done; \
	test -z "$$missing" && exit; \
	$(call install,$$missing,make test-backends) && \
	for name in nginx apache2 haproxy lighttpd caddy tomcat10 varnish uwsgi thin unicorn influxdb prometheus; do \
		systemctl disable --quiet --now $$name 2>/dev/null || true; done

$(BACKENDS)/ready: $(VENV)/made tests/backends/requirements.txt tests/backends/requirements-gunicorn20.txt \
		tests/backends/package-lock.json | npm
	@echo 'Installing the servers that hostile requests are replayed to …'
	@$(PYTHON) -m venv --clear $(BACKENDS)
	@$(BACKENDS)/bin/python -m pip install -qq --disable-pip-version-check -r tests/backends/requirements.txt
	@$(BACKENDS)/bin/python -m pip install -qq --disable-pip-version-check --target $(BACKENDS)/gunicorn20 \
		-r tests/backends/requirements-gunicorn20.txt
	@npm ci --prefix tests/backends --ignore-scripts --no-audit --no-fund --silent
	@touch $@
