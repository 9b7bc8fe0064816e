# Needs GNU make 3.81 or newer (Linux and macOS have it) and Python 3.11, 3.12 or 3.13.
# Every target prepares .venv itself; once that is done, repeats start at once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PLANS := .venv-plans
LOWEST := .venv-lowest
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: demo test check studio-check lowest lint notebooks docs plans kills parity goldens bench clean help

help:  ## list the targets
	@echo "make demo       install what is needed and render examples/ into out/"
	@echo "make test       install what is needed and run the test suite"
	@echo "make check      install what is needed; lint, and the tests that compile little"
	@echo "make lowest     install the lowest version that setup.py allows of everything; test with it"
	@echo "make lint       install what is needed; ruff (check, format), imports, mypy, shellcheck"
	@echo "make notebooks  install what is needed and run notebooks/ into out/notebooks"
	@echo "make docs       run the notebooks and build the documents into out/site"
	@echo "make plans      install the compilers of TPUs and GPUs; make docs/plans (30 minutes)"
	@echo "make kills      install what tests need; kill a job of two processes 20 times, and 5 in a bucket"
	@echo "make parity     install the reference libraries (PyTorch, CPU) and compare with them"
	@echo "make studio-check  install Playwright; try the page of the studio in Chromium, which has to be there"
	@echo "make goldens    the same installation; write tests/goldens again"
	@echo "make bench      the same installation; measure both on an idle CPU (docs/results)"
	@echo "make clean      remove .venv, out and caches"
	@echo
	@echo "PYTHON=/path/to/python3.12 chooses the interpreter (3.11, 3.12 or 3.13)."

demo: $(VENV)/.installed
	$(BIN)/alchemint demo --out out

# Most of the time goes to compilation, on one core; a process takes up to 6 GB. Files stay whole,
# since their tests share what they have compiled, and slow ones go first (tests/conftest.py).
PYTEST_PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PYTEST_PARALLEL)

# What is not marked as slow: see CONTRIBUTING.md.
check: lint $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_PARALLEL)

# What setup.py promises: every dependency of ours at its lower bound. These bounds are those of
# Python 3.11 (PYTHON=python3.11); newer ones may need newer versions of some.
lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest $(PYTEST_PARALLEL)

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy alchemint_jax studies
	$(BIN)/shellcheck launch/*.sh launch/*.sbatch

# What is committed has no outputs; what they print and draw goes to out/notebooks. They run where they
# are (--run-path), not where that goes, since they name files of the repository.
notebooks: $(VENV)/.installed-notebooks
	mkdir -p out/notebooks
	. launch/env_cpu.sh && cd notebooks && for text in *.py; do \
	  ../$(BIN)/jupytext --quiet --update --to ipynb "$$text" || exit 1; \
	  JAX_PLATFORMS=cpu ../$(BIN)/jupytext --quiet --to ipynb --execute --run-path . \
	    --output "../out/notebooks/$${text%.py}.ipynb" "$$text" || exit 1; \
	done

# The tests build the same site, with notebooks as they are committed.
docs: notebooks $(VENV)/.installed-docs
	JAX_PLATFORMS=cpu NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "the site is in out/site: $(BIN)/python -m http.server --directory out/site"

# What is there already is kept: remove files of docs/plans to make them again. The compilers have
# an environment of their own: JAX would look for their hardware whenever it starts.
plans: $(PLANS)/.installed
	. launch/env_cpu.sh && JAX_PLATFORMS=cpu $(PLANS)/bin/python -m studies.plans

kills: $(VENV)/.installed-test
	JAX_PLATFORMS=cpu $(BIN)/python tests/train/kills.py --out docs/results/kills.json
	JAX_PLATFORMS=cpu $(BIN)/python tests/train/kills.py --bucket --kills 5 --out docs/results/kills_bucket.json

# The references warn about themselves; what is compared here is numbers, compiled as users do.
parity: $(VENV)/.installed-parity
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(BIN)/python -m pytest -W default tests/parity/parity_*.py

# Chromium is no package of Python's, so `make test` does without: it tests the server alone.
studio-check: $(VENV)/.installed-studio
	. launch/env_cpu.sh && JAX_PLATFORMS=cpu JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(BIN)/python -m pytest -W default tests/studio/check_*.py
	. launch/env_cpu.sh && JAX_PLATFORMS=cpu $(BIN)/python -m studies.studio --out out/studio.json --picture out/studio.png

goldens: $(VENV)/.installed-parity
	$(BIN)/python tests/parity/make_goldens.py

# Second, the training step without the settings of launch/env_cpu.sh: what they are good for.
bench: $(VENV)/.installed-parity
	. launch/env_cpu.sh && JAX_PLATFORMS=cpu $(BIN)/alchemint bench --vs torch --out docs/results/bench_cpu.json
	JAX_PLATFORMS=cpu $(BIN)/alchemint bench --case sprites-train --out docs/results/bench_cpu_plain.json

clean:
	rm -rf $(VENV) $(PLANS) $(LOWEST) out build dist alchemint_jax.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find alchemint_jax studies tests configs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A candidate is run, not merely looked up: version managers leave launchers that do not start.
$(VENV)/.created:
	@chosen=; \
	for candidate in "$(PYTHON)" python3.13 python3.12 python3.11; do \
	  if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; \
	  then chosen="$$candidate"; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	  echo "error: no Python 3.11, 3.12 or 3.13 found (tried $(PYTHON), python3.13, python3.12, python3.11)." >&2; \
	  echo "       Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
	  exit 1; \
	fi; \
	echo "creating $(VENV) with $$("$$chosen" --version)"; \
	if ! "$$chosen" -m venv --clear $(VENV); then \
	  rm -rf $(VENV); \
	  echo "error: $$chosen could not create $(VENV) (on Debian and Ubuntu: install python3-venv)." >&2; \
	  exit 1; \
	fi
	@touch $@

$(VENV)/.installed: $(VENV)/.created setup.py
	@echo "installing into $(VENV) (about 1 GB; a minute or two the first time)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.created setup.py
	@echo "installing into $(VENV), with what the tests need (about 2 GB; some minutes the first time)"
	@$(PIP) -e '.[test]'
	@touch $@

$(PLANS)/.installed: $(VENV)/.created setup.py
	@echo "installing into $(PLANS), with the compilers of TPUs and GPUs (about 6 GB; some minutes)"
	@$(BIN)/python -m venv --clear $(PLANS)
	@$(PLANS)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[plan-tpu,plan-cuda,studies]'
	@touch $@

# pip always takes the newest; uv knows how to take the lowest.
$(LOWEST)/.installed: $(VENV)/.created setup.py
	@echo "installing into $(LOWEST), with what the tests need (about 2 GB; some minutes)"
	@$(BIN)/python -m venv --clear $(LOWEST)
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct -e '.[test]'
	@touch $@

$(VENV)/.installed-notebooks: $(VENV)/.created setup.py
	@echo "installing into $(VENV), with what the notebooks need (about 1 GB; a minute or two the first time)"
	@$(PIP) -e '.[notebooks]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.created setup.py
	@echo "installing into $(VENV), with what builds the documents (about 1 GB; a minute or two the first time)"
	@$(PIP) -e '.[docs]'
	@touch $@

$(VENV)/.installed-lint: $(VENV)/.created setup.py
	@echo "installing into $(VENV), with the linters (about 1 GB; a minute or two the first time)"
	@$(PIP) -e '.[lint]'
	@touch $@

$(VENV)/.installed-studio: $(VENV)/.created setup.py
	@echo "installing into $(VENV), with what drives a browser (about 2 GB; some minutes the first time)"
	@$(PIP) -e '.[test,studio,studio-check]'
	@touch $@

$(VENV)/.installed-parity: $(VENV)/.created setup.py
	@echo "installing into $(VENV), with PyTorch and the reference libraries (about 3 GB; some minutes)"
	@$(PIP) -e '.[test,parity]'
	@touch $@
