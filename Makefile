# Home Mixer: two commands to start with are `make demo` and `make test`.
VENV ?= .venv
export VENV
BIN := $(VENV)/bin
# Tests mostly wait for real servers: two files at a time.
TEST_PROCESSES ?= 2
# What shares fixtures stays in one process, and the longest files come first: see tests/work_units.py.
PYTEST_OPTIONS := -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

.PHONY: help install demo test test-fast lint up down clean bench-quality

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

install: $(VENV)/.installed ## Create .venv and install the lock file

# The kernels' sources too: a change of them is built again.
KERNELS := $(wildcard services/ranking/kernel/*.[ch] feature_repo/aggregates/kernel/*.[ch])

$(VENV)/.installed: requirements.lock pyproject.toml infra/set_up.sh $(KERNELS)
	@./infra/set_up.sh

demo: install ## Run the main job end to end on real feed logs (or on the simulated world)
	@$(BIN)/mixer demo

# Every process of the tests keeps its compiled modules, whatever the shell says: compiled anew, they double its start.
test test-fast: export PYTHONDONTWRITEBYTECODE :=
# Where test processes fill the cores, a second thread of the array libraries spins while it waits for its turn.
test test-fast: export OPENBLAS_NUM_THREADS := 1
test test-fast: export OMP_NUM_THREADS := 1

test: install ## Lint and run the whole test suite; the slowest twenty tests are listed at the end
	@./infra/set_up_tests.sh
	@$(BIN)/ruff check .
	@$(BIN)/python -m pytest $(PYTEST_OPTIONS)

test-fast: install ## Unit and property tests that start no server and train no model: two and a half minutes on two slow cores
	@$(BIN)/python -m pytest $(PYTEST_OPTIONS) -m "not slow" tests/unit tests/property

lint: install ## Check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

bench-quality: install ## Our rankers beside all peers on KuaiRand's 4-5 May (about an hour; a broken run carries on)
	@$(BIN)/python -m tests.bench quality

up: install ## Start the platform as local processes
	@$(BIN)/mixer up

down: ## Stop the platform
	@$(BIN)/mixer down

clean: down ## Stop the platform and remove all run-time state
	rm -rf $${MIXER_HOME:-var}
