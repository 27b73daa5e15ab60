# pad_inspection: `make help` lists what there is. Every target sets up .venv itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PAD_VENV := $(abspath $(VENV))
FAST ?= 0
SOAK_MINUTES ?= 10

.DEFAULT_GOAL := help
BENCHES := bench-render bench-fit bench-refine bench-localize bench-mapping bench-inspect bench-ros
.PHONY: help setup demo demo-data demo-bundle test test-fast test-ros lint format check blender \
	docs bench $(BENCHES) fuzz soak clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

setup:  ## virtual environment, packages, ROS 2, rasterizer, weights (skips what is done)
	@$(PYTHON) tools/setup_env.py

demo: setup  ## the whole inspection over ROS 2 on the demo data; FAST=1 uses the committed bundle
	@$(BIN)/pad demo --out out/demo $(if $(filter-out 0,$(FAST)),--fast)

demo-data: setup blender  ## render the demo data set again (needs Blender, see `make blender`)
	@$(BIN)/python tools/make_demo_data.py

demo-bundle: setup  ## build the committed demo bundle again
	@$(BIN)/pad build demo/data/coupe --out demo/bundle/coupe

test: setup lint  ## all tests
	@$(BIN)/python -m pytest -q test

test-fast: setup  ## tests without ROS and without slow ones
	@$(BIN)/python -m pytest -q -m "not ros and not slow" test

test-ros: setup  ## only the tests over DDS
	@$(BIN)/python -m pytest -q -m ros test

lint: setup  ## lint only
	@$(BIN)/ruff check .

check: lint  ## lint and formatting
	@$(BIN)/ruff format --check .

format: setup docs  ## format the code, make the generated files again
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

blender:  ## Blender as a Python module in .venv-blender (about 1 GB; only for rendering data sets)
	@$(PYTHON) tools/setup_blender.py

docs: setup  ## options page, ROS parameter file and tables from the configuration classes
	@$(BIN)/python tools/make_options_doc.py && $(BIN)/python tools/update_ros_files.py

bench: bench-render bench-localize bench-inspect  ## the main benchmarks; bench-fit, -refine, -ros too (ARGS: their options)

# a static pattern: implicit rules are not looked up for phony targets
$(BENCHES): bench-%: setup
	@$(BIN)/python bench/bench_$*.py $(ARGS)

fuzz: setup  ## 10,000 hostile messages in each association mode (ARGS: --messages --seed --minutes)
	@$(BIN)/python test/fuzz_line.py $(ARGS)

soak: setup  ## 10 minutes of the node graph: nothing lost, memory flat; SOAK_MINUTES=...
	@$(BIN)/python bench/soak.py --minutes $(SOAK_MINUTES)

clean:  ## remove generated files, keep .venv
	rm -rf out build install log
