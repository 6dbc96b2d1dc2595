# make demo and make test set up all they need: git, make, Python >= 3.11 and pip's package index are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
NEXTFLOW := engine/nextflow

export PATH := $(CURDIR)/engine:$(CURDIR)/$(BIN):$(PATH)

SHEET    ?=
LABELLED ?=
ACCURACY := results/bench_accuracy

.PHONY: help setup demo test test-unit test-modules test-pipeline lint lint-nf-core picture release-check test-containers tutorials lock bench-accuracy bench-count-model bench-peers bench-calibration bench-normalised bench-pooling bench-samples bench-scale bench-gpu bench-smoothing bench-study bench-train bench-joint bench-map bench-features bench-load bench-report bench-cohort bench-faults errors generate clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

# Some wheels are half a gigabyte: a network that breaks off is given time to come back.
RETRIED     := again() { "$$@" || { sleep 15; "$$@"; } || { sleep 60; "$$@"; }; }; again
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

# A virtual environment is made anew when what it is made from has changed.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("mmsrl needs Python >= 3.11, this is " + sys.version.split()[0] + "; say make PYTHON=python3.x") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(RETRIED) $(BIN)/python $(PIP_INSTALL) --upgrade 'pip>=25.1'
	$(RETRIED) $(BIN)/python $(PIP_INSTALL) --group dev --editable '.[torch,engine,spatialdata]'
	touch $@

setup: $(VENV)/.installed ## install the package, the engine and the tools for development into .venv

demo: setup ## run the pipeline on a real section and say where the report is
	$(NEXTFLOW) run main.nf -profile local,demo -resume

picture: setup ## draw the picture of the README from the results of the demo
	$(BIN)/python docs/images/demo.py results/assemble/151673.mmsrl.h5ad results/enhance/151673.enhanced.h5ad docs/images/demo.png

test: lint test-unit test-modules test-pipeline ## all that must pass

lint: setup ## ruff, mypy, the strict Nextflow linter, generated files up to date
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mmsrl.generate --check
	$(BIN)/python -m mmsrl.engine.lint main.nf workflows subworkflows modules tests

# nf-core's linter, in an environment of its own. .nf-core.yml says what is left out, and why.
build/nf-core/.installed:
	$(PYTHON) -m venv build/nf-core
	$(RETRIED) build/nf-core/bin/python $(PIP_INSTALL) nf-core==4.2.1
	touch $@

lint-nf-core: setup build/nf-core/.installed ## nf-core's linter
	NXF_OFFLINE=true build/nf-core/bin/nf-core --log-file build/nf-core/lint.log pipelines lint --dir .

test-unit: setup ## the core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto tests/unit tests/browser

test-modules: setup ## every module through the engine: nf-test where it is installed, else our runner of the same suites
	$(BIN)/python -m mmsrl.engine.nftest

test-pipeline: setup ## whole runs through the engine
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile tests/pipeline

# Not part of make test: takes a quarter of an hour.
tutorials: setup ## run docs/tutorials and compare what they print with what they show (ARGS: --write, or names of some)
	OMP_NUM_THREADS=1 $(BIN)/python tests/tutorials.py $(ARGS)

# Not part of make test: takes 20 minutes and 15 GB of disk, and a container tool.
test-containers: setup ## build the images and run the test profile in them, non-root and read-only
	TEST_CONTAINERS=1 $(BIN)/python -m pytest tests/containers

# For all platforms and Python versions that the package runs on: arm64 installs from the same files.
COMPILE := uv --quiet pip compile --universal --python-version 3.11 --upgrade --generate-hashes --no-annotate --no-strip-extras --custom-compile-command 'make lock'
lock: setup ## lock the versions in the images anew, with hashes
	$(RETRIED) $(BIN)/python $(PIP_INSTALL) uv
	$(COMPILE) pyproject.toml --extra image --extra spatialdata -o containers/requirements-cpu.txt
	$(COMPILE) pyproject.toml --extra torch --extra timm --extra spatialdata -c containers/requirements-cpu.txt -o containers/requirements-cuda.txt
	echo awscli | $(COMPILE) - -o containers/requirements-aws.txt
	echo cyclonedx-bom | $(COMPILE) - -o containers/requirements-sbom.txt

bench-accuracy: setup ## score the default on the labelled sections below LABELLED
	$(if $(LABELLED),,$(error say where the labelled sections are: make bench-accuracy LABELLED=folder))
	$(BIN)/python benchmarks/bench_accuracy.py $(LABELLED) --output-dir $(ACCURACY) $(ARGS)

bench-count-model: setup ## score a learned count model in place of principal components on the sections below LABELLED
	$(if $(LABELLED),,$(error say where the labelled sections are: make bench-count-model LABELLED=folder))
	$(BIN)/python benchmarks/bench_count_model.py $(LABELLED) $(ARGS)

# Other methods to compare with, in two environments of their own: BANKSY, and those that need PyTorch.
PEERS := $(ACCURACY)/peers
$(PEERS)/banksy/.installed:
	$(PYTHON) -m venv $(PEERS)/banksy
	$(RETRIED) $(PEERS)/banksy/bin/python $(PIP_INSTALL) pybanksy==1.3.5 scikit-misc==0.5.3
	touch $@

$(PEERS)/torch/.installed:
	$(PYTHON) -m venv $(PEERS)/torch
	$(RETRIED) $(PEERS)/torch/bin/python $(PIP_INSTALL) graphst-modern==1.1.1.post3 stagate-modern==1.0.0.post1 torch_geometric==2.8.1 cellcharter==0.3.7 scvi-tools==1.4.2 spagcn-modern==1.4.1
	touch $@

bench-peers: setup $(PEERS)/banksy/.installed $(PEERS)/torch/.installed ## score other methods on the labelled sections below LABELLED (ARGS: --only, --sections, --minutes)
	$(if $(LABELLED),,$(error say where the labelled sections are: make bench-peers LABELLED=folder))
	$(BIN)/python benchmarks/bench_peers.py $(LABELLED) --peers $(PEERS) --output-dir $(PEERS)/made $(ARGS)

bench-calibration: setup ## whether p-values are what they say (ARGS: --quick, --only, --real)
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python benchmarks/bench_calibration.py $(ARGS)

bench-study: setup ## conditions compared where nothing differs and where something was planted (ARGS: --quick)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_study.py $(ARGS)

bench-normalised: setup ## what domains lose where the labelled sections in INPUT were normalised before (ARGS: --only --seed)
	$(BIN)/python benchmarks/bench_normalised.py $(INPUT) $(ARGS)

bench-scale: setup ## whole runs of planted sections of 34,000 to 400,000 bins and 100,000 cells, like the bins of 16 µm in INPUT (ARGS: --sizes, --peers)
	$(BIN)/python benchmarks/bench_scale.py $(INPUT) --output-dir results/benchmarks $(ARGS)

bench-samples: setup ## what computing large units from samples changes on the section of some 30,000 spots in INPUT
	$(BIN)/python benchmarks/bench_samples.py $(INPUT)

bench-gpu: setup ## what the published presets cost on a GPU, and whether it computes what the CPU does
	$(BIN)/python benchmarks/bench_gpu.py --output-dir results/benchmarks $(ARGS)

bench-pooling: setup ## what pooling neighbours saves and changes on the large section in INPUT
	$(BIN)/python benchmarks/bench_pooling.py $(INPUT)

bench-smoothing: setup ## domains of simulated sections, smoothed across borders and not (ARGS: --seeds)
	$(BIN)/python benchmarks/bench_smoothing.py $(ARGS)

bench-train: setup ## what training costs: dense restatement, exact presets and default, as JSON and a table
	$(BIN)/python benchmarks/bench_train.py --output-dir results/benchmarks
	$(BIN)/python benchmarks/bench_from_disk.py --output-dir results/benchmarks

bench-map: setup ## map sections onto trained ones, like and unlike: those in the folder SECTIONS
	$(if $(SECTIONS),,$(error say where the sections are: make bench-map SECTIONS=folder))
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_map.py $(SECTIONS) --output-dir results/benchmarks

bench-joint: setup ## both demo sections trained jointly in every preset: agreement with the layers, mixing (ARGS: --epochs, ...)
	$(BIN)/python benchmarks/bench_joint.py assets/demo/samplesheet_pair.csv --output-dir results/benchmarks $(ARGS)

bench-features: setup ## what image descriptors say of expression in the sections of SHEET, and what they cost (ARGS: --samples, --device)
	$(BIN)/python benchmarks/bench_features.py $(SHEET) --sizes --cost --output-dir results/benchmarks $(ARGS)

bench-load: setup ## 500 sections as stubs through the engine, or the sections of INPUT for real (ARGS: --samples)
	$(BIN)/python benchmarks/bench_load.py $(if $(INPUT),--input $(INPUT)) --output-dir results/benchmarks $(ARGS)

bench-report: setup ## files, figures, page and report of 100,000 made-up cells (ARGS: --cells, --outlines)
	$(BIN)/python benchmarks/bench_report.py --output-dir results/benchmarks/report $(ARGS)

bench-cohort: setup ## the report of 96 sections: memory, MB, seconds until it is open (ARGS: --sections, --results)
	$(BIN)/python benchmarks/bench_cohort.py $(ARGS)

bench-faults: setup ## kill a task and the engine at every stage of a real run, and compare what comes out
	$(BIN)/python benchmarks/bench_faults.py $(if $(INPUT),--input $(INPUT)) --output-dir results/benchmarks $(ARGS)

release-check: setup ## whether VERSION can be released: docs/release.md
	RELEASE=$(VERSION) $(BIN)/python -m pytest tests/unit/test_release.py

generate: setup ## write nextflow_schema.json, conf/params.config and docs/parameters.md from the table of parameters
	$(BIN)/python -m mmsrl.generate

errors: setup ## write docs/errors.md from the cases of tests/bad_input
	cd tests && ../$(BIN)/python -W ignore -m bad_input

clean:
	rm -rf $(VENV) work results .nextflow .nextflow.log*
