# make run    set up what is missing, then start Sluice
# make test   set up what is missing, then run the tests, but test-gpu and test-dist; where chance
#             decides, a few of each kind
# make soak   those tests of chance for longer: kills, imports, random keys, interleavings, ...
# make check  format, lint, types, import contracts and unit tests
# make torture   kill -9 in the middle of answers, RUNS=50 times of each kind, and look what readers saw
# make interleave   edits beside questions, RUNS=1000 times, with kills: nothing stale is ever shown
# make bench-engine   Sluice beside llama-server, as ratios; on a quiet machine, about an hour
# make bench-lengths FILES="a.json"  predicted answer lengths beside simpler predictors
# make bench-retrieval DATA=FOLDER   what the FAQ finds on public data sets, beside published figures
# make bench-import [COUNT=10000]   what an import costs those who ask meanwhile, as ratios
# make bench-admission [QUICK=1] [ENGINE=llama]   fairness and honesty of admission, live
# make bench-simulator   how well the simulator predicts a live run on this machine; five minutes
# make bench-scheduling TRACES=FOLDER  compare placement and limiter rules on public traces (hours)
# make bench-switch  what showing another session in the terminal UI costs, beside one answer
# make dist [FLAVOUR=full]   build the one executable file; make test-dist tests it, bench-dist measures it
# make lock, make audit   pin what pyproject.toml names; look up known weaknesses of what is pinned
# make vulkan, make cuda   add a GPU backend; make test-gpu tests it, on a software driver too
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
REQUIREMENTS := packaging/requirements.txt

# Compiled modules are kept: else each of the many processes of the tests compiles all of them.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := run
.PHONY: run test soak check torture interleave bench-engine bench-lengths bench-retrieval bench-import bench-admission bench-simulator bench-switch bench-scheduling models vulkan cuda test-gpu dist test-dist bench-dist lock audit clean

run: $(VENV)/.ready
	@if [ -t 0 ] && [ -t 1 ]; then exec $(BIN)/sluice; \
	else exec $(BIN)/sluice serve --demo-faq --missing fetch; fi

# Tests of processes wait a third of their time, so one file more runs at a time than there are cores
# for; real models compute on one thread each. What failed runs once more by itself: a machine starved
# for seconds fails a test once, a defect fails it twice, and the log shows both. Pictures of tests
# that do not run again are no fault.
JOBS ?= 3
LONG := (not unit or model) and not gpu and not dist
test: check models
	@$(call twice,$(LONG),-n $(JOBS) --dist loadfile)

soak: models
	@export SLUICE_SOAK=1; $(call twice,soak and not gpu,-n $(JOBS) --dist loadfile)

twice = $(BIN)/pytest -m "$(1)" $(2) || { test $$? = 1 && echo "what failed, once more:" && \
    $(BIN)/pytest -m "$(1)" --last-failed --last-failed-no-failures none --snapshot-warn-unused; }

check: $(VENV)/.ready
	$(BIN)/ruff format --check appliance ui models tests packaging
	$(BIN)/ruff check appliance ui models tests packaging
	$(BIN)/mypy
	@for suite in tests/[a-z]*/; do $(BIN)/mypy $$suite || exit 1; done
	$(BIN)/lint-imports
	@$(call twice,unit and not model,-q -n 2 --dist loadfile)

torture: $(VENV)/.ready
	$(BIN)/python tests/whole/torture.py --runs $(or $(RUNS),50)

interleave: $(VENV)/.ready
	$(BIN)/python tests/whole/interleave.py --runs $(or $(RUNS),1000)

# Tests keep their weights in the user's cache, away from the data of a running appliance.
models: $(VENV)/.ready
	@$(BIN)/sluice models --cache pull chat embedding test-chat >/dev/null

# make bench-engine [QUICK=1] [PAIRS=5] [ONLY=raw-8,faq] [USERS=8] [THREADS=2] [CHART=chart.svg]
#     [SHARED=1]: both servers with our llama.cpp, which shows what is not its kernels'
BENCH = $(if $(QUICK),--quick) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(ONLY),--only $(ONLY)) \
    $(if $(USERS),--users $(USERS)) $(if $(THREADS),--threads $(THREADS)) \
    $(if $(CHART),--chart $(CHART)) $(if $(SHARED),--shared-libraries)
bench-engine: models
	@PYTHONPATH=tests/bench $(BIN)/python -m engine_bench $(BENCH)

# make bench-lengths FILES="a.json b.json" [CEILING=100]: instructions with their answers
bench-lengths: models
	@PYTHONPATH=tests/bench $(BIN)/python -m lengths_bench $(FILES) \
	    $(if $(CEILING),--ceiling $(CEILING))

# make bench-retrieval DATA=FOLDER [CACHE=FOLDER] [FULL=1] [ONLY=NAME,...]
#     [LATENCY=1000,10000,100000 [BUSY=1]] [PAGE=tests/bench/retrieval_bench/RESULTS.md]: the first run
# computes the vectors of some 50,000 texts, 20 minutes on a quiet machine, and keeps them in CACHE
CACHE ?= $(HOME)/.cache/sluice/retrieval-bench
bench-retrieval: models
	@test -n "$(DATA)" || { echo "name the folder of the data sets: make $@ DATA=FOLDER" >&2; exit 2; }
	@PYTHONPATH=tests/bench $(BIN)/python -m retrieval_bench "$(DATA)" --cache "$(CACHE)" \
	    $(if $(FULL),--full) $(if $(ONLY),--only "$(ONLY)") $(if $(LATENCY),--latency "$(LATENCY)") \
	    $(if $(BUSY),--busy) $(if $(PAGE),--page "$(PAGE)")

# make bench-import [COUNT=10000] [HELD=500] [ASKED=150]: about an hour on a quiet machine
bench-import: models
	@PYTHONPATH=tests/bench $(BIN)/python -m import_bench $(if $(COUNT),--count $(COUNT)) \
	    $(if $(HELD),--held $(HELD)) $(if $(ASKED),--asked $(ASKED))

# One more library beside the binding's; built once per machine, in about five minutes.
vulkan: $(VENV)/.ready
	@$(BIN)/python packaging/gpu.py vulkan

# For the GPUs of this machine, or all, or those in CUDA_ARCHITECTURES; an hour for all of them.
cuda: $(VENV)/.ready
	@$(BIN)/python packaging/gpu.py cuda

# Without a GPU the drivers' software device stands in, which is hidden unless it is named.
test-gpu: vulkan models
	$(BIN)/pytest -m gpu

# slim fetches or imports its models at first start; full brings the starter models along. Vulkan is
# in both where it can be built: once per machine, in about five minutes.
FLAVOUR ?= slim
dist: $(VENV)/.ready
	@test $(FLAVOUR) = slim || $(BIN)/sluice models --cache pull >/dev/null
	@$(BIN)/python packaging/gpu.py dist
	@$(BIN)/python packaging/dist.py --flavour $(FLAVOUR)

test-dist: models
	@test -x dist/sluice || $(MAKE) dist
	$(BIN)/pytest -m dist

bench-dist: models
	@$(BIN)/python packaging/figures.py

bench-admission: models
	@PYTHONPATH=tests/bench $(BIN)/python -m admission_bench $(if $(QUICK),--quick) \
	    $(if $(ENGINE),--engine $(ENGINE))

# make bench-simulator [LOADS=0.5,0.8] [SECONDS=90] [OUTPUT=FOLDER]
bench-simulator: models
	@PYTHONPATH=tests/bench $(BIN)/python -m calibration_bench $(if $(LOADS),--loads $(LOADS)) \
	    $(if $(SECONDS),--seconds $(SECONDS)) $(if $(OUTPUT),--output "$(OUTPUT)")

bench-switch: $(VENV)/.ready
	@PYTHONPATH=tests/ui $(BIN)/python tests/ui/switch_bench.py

# Goes on where it was stopped; the page and its charts are made again from all runs so far.
bench-scheduling: $(VENV)/.ready
	@test -n "$(TRACES)" || { echo "name the folder of the traces: make $@ TRACES=FOLDER" >&2; exit 2; }
	nice -n 19 $(BIN)/sluice simulate --compare "$(TRACES)" --output appliance/simulator/results

# The exact versions of everything, with hashes; run after changing pyproject.toml.
lock: $(VENV)/.ready
	$(PIP) install -q uv
	$(BIN)/uv pip compile pyproject.toml --group dev --group build --generate-hashes --universal \
	    --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
	    --no-emit-find-links -q -o $(REQUIREMENTS)

# Asks the package index over the network. Strict: what cannot be looked up is no clean result.
audit: $(VENV)/.ready
	@$(PIP) install -q uv
	@$(BIN)/uv tool run -q pip-audit --strict --disable-pip --require-hashes -r $(REQUIREMENTS) || { \
	    echo "the audit is not clean: a weakness is listed above, or the index did not answer and" \
	    "nothing is known" >&2; exit 1; }

$(VENV)/.ready: $(REQUIREMENTS) pyproject.toml packaging/llama.py $(shell find packaging/patches -type f)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	    { echo "Python 3.11, 3.12 or 3.13 is needed; name one with: make PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the Python packages"
	@awk '/^[a-zA-Z0-9]/ { keep = !/^llama-cpp-python==/ } keep' $(REQUIREMENTS) > $(VENV)/packages.txt
	@$(PIP) install -q --require-hashes -r $(VENV)/packages.txt
	@$(BIN)/python packaging/llama.py
	@$(BIN)/python packaging/gpu.py present
	@$(PIP) install -q --no-deps --no-build-isolation --editable .
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
