# make demo: one episode on the shipped weights.  make test: every check.  make docs: the site, in
# build/site.  Each sets up first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
export MUJOCO_GL ?= egl
export PYTHONDONTWRITEBYTECODE :=  # hundreds of processes start: none compiles what another has

.PHONY: setup hil demo test docs lint bench clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt Makefile
	@sh tools/system-packages.sh
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch .venv/ready

# Simulators that speak the Franka control interface; without them their tests are skipped.
hil:
	-PYTHON="$(PYTHON)" sh tools/hil/setup.sh

# stable-worldmodel, which `worldmodel bench planner` measures against.
.bench/ready: tools/bench/setup.sh .venv/ready
	-sh tools/bench/setup.sh && touch .bench/ready

demo: setup
	$(BIN)/worldmodel plan task=pick_and_place seed=100000 out=outputs/demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/pyright --warnings
	$(BIN)/lint-imports

# Fails on a broken link, on a reference to code that is not there, on a missing docstring.  (Not
# --quiet: strict counts the warnings that are shown.)
docs: setup
	$(BIN)/ruff check --quiet .
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/python -m mkdocs build --strict

# Lint and docs take what the tests leave of the cores; the tests that must be alone leave one.
test:
	@sh tools/system-packages.sh tests
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target hil .bench/ready
	@mkdir -p build; nice -n 19 $(MAKE) --no-print-directory lint >build/lint.log 2>&1 & \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs -n auto --dist loadgroup -m "not alone"; tested=$$?; \
	wait $$!; checked=$$?; cat build/lint.log; exit $$((tested | checked))
	@nice -n 19 $(MAKE) --no-print-directory docs >build/docs.log 2>&1 & \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs -m alone tests/test_bridge.py tests/test_hil.py; tested=$$?; \
	wait $$!; checked=$$?; cat build/docs.log; exit $$((tested | checked))

bench: setup
	$(BIN)/worldmodel bench sim

clean:
	rm -rf .venv build outputs
