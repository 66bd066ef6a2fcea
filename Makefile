# Each target does its own set-up: Python 3.11 and make are all that is needed.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help demo docs messages matrix test test-faults test-events test-feeds test-rest test-host test-all test-postgresql test-sites test-matrix test-composition test-browser pictures faults faults-redis faults-rabbitmq soak reliability installed lint bench wheel clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(VENV)/site: requirements.txt devtools/requirements.txt
	@echo "Setting up $(VENV) (once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r devtools/requirements.txt
	@touch $@

$(VENV)/dev: $(VENV)/site pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r devtools/requirements.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/site ## an author with 100,000 followers uploads; ARGS="--followers 1500000 --exit", "--cluster"
	@$(BIN)/python -m devtools.demo $(ARGS)

messages: $(VENV)/dev ## mydjangoapp/locale/django.pot from the source
	@$(BIN)/python -m devtools.messages

lint: $(VENV)/dev ## ruff, mypy, import-linter, and the files of CI by their schemas
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy \
	  && $(BIN)/lint-imports --no-logo \
	  && $(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml \
	  && $(BIN)/check-jsonschema -q --builtin-schema vendor.readthedocs .readthedocs.yaml \
	  && $(BIN)/check-jsonschema -q --builtin-schema vendor.compose-spec docker-compose.yml \
	  && $(BIN)/hadolint Dockerfile

# Each run of pytest has servers and a database of its own, so parts run side by side; without ARGS,
# as what they choose may lie in one of them only.
test: lint ## lint, then every test that needs nothing installed; ARGS="-k name"
ifeq ($(ARGS),)
	@echo "Five parts side by side, each is shown when it has ended"
	@$(MAKE) -s -j5 -Otarget test-faults test-events test-feeds test-rest test-host
else
	@$(PYTEST) $(ARGS)
endif

test-faults test-events: $(VENV)/dev
	@$(PYTEST) tests/$(@:test-%=%)

FEEDS := tests/homefeed tests/fanout tests/hosts

test-feeds: $(VENV)/dev
	@$(PYTEST) $(FEEDS)

test-rest: $(VENV)/dev
	@$(PYTEST) --ignore tests/faults --ignore tests/events $(FEEDS:%=--ignore %)

# The same tests on a site with users by UUID, who log in by e-mail, and with other defaults.
ON_A_HOST := tests/test_host_site.py tests/api/test_upload_api.py tests/fanout/test_fanouts.py tests/api/test_feed_api.py \
  tests/api/test_people_api.py tests/api/test_photo_api.py tests/circles/test_circles.py tests/homefeed/test_verify.py \
  tests/test_outbox.py tests/homefeed/test_build_rules.py tests/events/test_announcements.py \
  tests/api/test_authentication.py

test-host: $(VENV)/dev
	@TEST_ON=uuid-users $(PYTEST) $(ON_A_HOST)

# The same with a photo model of the site's own.
ON_A_SHOP := tests/hosts/test_shop_photos.py tests/homefeed/test_feed_oracle.py tests/homefeed/test_verify.py \
  tests/homefeed/test_feed_modes.py

INSTALLED := postgresql memcached rabbitmq-server redis-server prometheus wget chromium
FINDINGS := var/reliability
PYTEST := $(BIN)/python -m pytest

installed:
	@apt-get -qq update
	@DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq install --no-install-recommends $(INSTALLED)

# What depends on the database or the cache.
ON_POSTGRESQL := tests/api/test_authentication.py tests/api/test_feed_api.py \
  tests/api/test_people_api.py tests/api/test_photo_api.py \
  tests/api/test_upload_api.py tests/homefeed/test_build_rules.py tests/homefeed/test_feed_modes.py \
  tests/homefeed/test_feed_oracle.py tests/homefeed/test_followers.py tests/homefeed/test_leases.py \
  tests/homefeed/test_query_plans.py \
  tests/homefeed/test_verify.py tests/photos/test_feed_cache.py tests/photos/test_pictures.py \
  tests/fanout/test_backlog.py \
  tests/fanout/test_fanout_cost.py tests/fanout/test_fanouts.py tests/fanout/test_rescue.py \
  tests/circles tests/connections/test_databases.py tests/ops/test_pruning.py tests/test_outbox.py \
  tests/test_site.py tests/events/test_announcements.py tests/events/test_publishing.py tests/events/test_running.py \
  tests/graph tests/photos/test_old_photos.py tests/test_feeds.py

test-all: $(VENV)/browser $(VENV)/docs ## what needs PostgreSQL, memcached, RabbitMQ (installs Debian's, as root): truth, cache, sites, every fault
	@dpkg -s $(INSTALLED) >/dev/null 2>&1 || $(MAKE) -s installed
	@$(MAKE) -s -j2 -Otarget test-postgresql test-sites test-matrix test-cluster test-composition test-browser docs
	@$(MAKE) -s faults ON_REDIS="fault and slow" ON_CLUSTERS="fault and not slow"

test-postgresql: $(VENV)/dev
	@TEST_ON="postgres memcached" $(PYTEST) -m "slow or not slow" $(ON_POSTGRESQL) $(ARGS)

# The feeds on three primaries: what people see, real workers, what heals.
ON_A_CLUSTER := tests/homefeed/test_cluster_failover.py tests/homefeed/test_cluster_node_away.py \
  tests/homefeed/test_feed_oracle.py tests/homefeed/test_build_rules.py \
  tests/homefeed/test_feed_modes.py tests/homefeed/test_followers.py tests/homefeed/test_verify.py \
  tests/fanout/test_fanout_by_worker.py tests/fanout/test_backlog.py tests/api/test_feed_api.py tests/test_outbox.py \
  tests/circles tests/events/test_redis_streams.py tests/events/test_publishing.py tests/events/test_contract.py \
  tests/events/test_announcements.py tests/api/test_people_api.py tests/api/test_photo_api.py tests/graph tests/photos/test_feed_cache.py \
  tests/photos/test_old_photos.py tests/test_feeds.py

test-cluster: $(VENV)/dev
	@TEST_ON=cluster $(PYTEST) -m "slow or not slow" $(ON_A_CLUSTER) $(ARGS)

# Every service of docker-compose.yml by its own command, without a container engine.
test-composition: $(VENV)/dev
	@$(PYTEST) -m "slow or not slow" tests/composition tests/test_demo.py $(ARGS)

$(VENV)/browser: $(VENV)/dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,browser]'
	@touch $@

# The pages in Debian's Chromium.
test-browser: $(VENV)/browser
	@$(PYTEST) -m "slow or not slow" tests/browser $(ARGS)

pictures: $(VENV)/browser ## the pictures of pages under docs/pictures, by a browser
	@KEEP_PICTURES=1 $(PYTEST) -m "slow or not slow" tests/browser/test_pictures_of_pages.py

test-sites: $(VENV)/dev
	@TEST_ON=text-users $(PYTEST) -m "slow or not slow" $(ON_A_HOST) tests/fanout/test_fanout_by_worker.py
	@TEST_ON=uuid-users $(PYTEST) tests/homefeed/test_feed_oracle.py
	@TEST_ON=shop-photos $(PYTEST) $(ON_A_SHOP)
	@$(PYTEST) -m slow tests/hosts

# Sites of somebody else's on every supported Django, and on the lowest versions of everything.
ON_THE_MATRIX := tests/hosts tests/test_site.py tests/test_testing.py tests/test_feeds.py \
  tests/api/test_upload_api.py tests/api/test_feed_api.py tests/connections/test_redis_cluster.py

test-matrix: $(VENV)/dev
	@$(BIN)/nox -s lowest "django-3.12(6.0)" "django-3.13(6.1)" -- -m "slow or not slow" $(ON_THE_MATRIX)

matrix: $(VENV)/dev ## the tests on every Python and Django there is here; ARGS="-s lowest"
	@$(BIN)/nox $(ARGS)

faults: $(VENV)/dev ## every row of the fault suite, with Redis and SQLite, with RabbitMQ and PostgreSQL beside it, and on a cluster
	@$(MAKE) -s -j2 -Otarget faults-redis faults-cluster faults-rabbitmq

# `make test-all` leaves to `make test` what that has: on the single server, the rows that are not slow.
ON_REDIS := fault
faults-redis: $(VENV)/dev
	@FAULT_FINDINGS="$(FINDINGS)/Redis as broker, SQLite.json" $(PYTEST) -m "$(ON_REDIS)" tests/faults $(ARGS)

faults-rabbitmq: $(VENV)/dev
	@TEST_ON="postgres rabbitmq" FAULT_FINDINGS="$(FINDINGS)/RabbitMQ as broker, PostgreSQL.json" \
	  $(PYTEST) -m fault tests/faults $(ARGS)
	@TEST_ON="postgres rabbitmq" CELERY_TASK_DEFAULT_QUEUE_TYPE=classic $(PYTEST) -m "fault and not slow" \
	  tests/faults/test_broker_away.py tests/faults/test_messages.py $(ARGS)

# `make test-all` leaves the slow rows to the single server, where they are as slow.
ON_CLUSTERS := fault
faults-cluster: $(VENV)/dev
	@TEST_ON="cluster replicas" FAULT_FINDINGS="$(FINDINGS)/Redis Cluster with replicas.json" \
	  $(PYTEST) -m "$(ON_CLUSTERS)" tests/faults $(ARGS)

reliability: faults ## the same, and docs/RELIABILITY.md from what was found
	@$(BIN)/python -m tests.faults.table $(FINDINGS)/*.json

soak: $(VENV)/dev ## ten minutes of uploads under faults at random; ARGS="--minutes 10 --seed 1"
	@$(BIN)/python -m tests.faults.soak $(ARGS)

bench: $(VENV)/dev ## the engine beside the naive way, on one Redis (installs Debian's if there is none)
	@command -v redis-benchmark >/dev/null || \
	  { apt-get -qq update && RUNLEVEL=1 apt-get -qq install --no-install-recommends redis-server; }
	@$(BIN)/python -m benchmarks.bench $(ARGS)
	@dpkg -s $(INSTALLED) >/dev/null 2>&1 || $(MAKE) -s installed
	@$(BIN)/python -m benchmarks.small
	@$(BIN)/python -m benchmarks.reading
	@$(BIN)/python -m benchmarks.uploads
	@$(BIN)/python -m benchmarks.events
	@$(BIN)/python -m benchmarks.follows
	@$(BIN)/python -m benchmarks.cluster
	@$(BIN)/python -m benchmarks.capacity
	@$(BIN)/python -m benchmarks.simulate

$(VENV)/docs: $(VENV)/site pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

docs: $(VENV)/docs ## the documentation as a site: var/docs/index.html
	@$(BIN)/python -m sphinx -q -n -W --keep-going docs var/docs

wheel: ## the app alone, as dist/*.whl
	@rm -rf dist && $(PYTHON) -m pip --quiet --disable-pip-version-check wheel --no-deps -w dist .

clean: ## removes the virtual environment and what runs have left
	rm -rf $(VENV) var build dist *.egg-info
