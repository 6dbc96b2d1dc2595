# make demo and make test install what they need. They require git, make, Python >= 3.11 and a Python package index.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
NEXTFLOW := engine/nextflow

export PATH := $(CURDIR)/engine:$(CURDIR)/$(BIN):$(PATH)

SHEET    ?=
LABELLED ?=
ACCURACY := results/bench_accuracy

.PHONY: help setup demo test test-unit test-modules test-pipeline lint lint-nf-core picture release-check test-containers tutorials lock bench-accuracy bench-count-model bench-peers bench-calibration bench-normalised bench-pooling bench-samples bench-scale bench-gpu bench-smoothing bench-study bench-train bench-joint bench-map bench-features bench-load bench-report bench-cohort bench-faults errors generate api clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

# Some wheels have half a gigabyte: retry a broken download.
RETRIED     := again() { "$$@" || { sleep 15; "$$@"; } || { sleep 60; "$$@"; }; }; again
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

# The virtual environment is built again when pyproject.toml changes.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("mmsrl needs Python >= 3.11, this is " + sys.version.split()[0] + "; say make PYTHON=python3.x") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(RETRIED) $(BIN)/python $(PIP_INSTALL) --upgrade 'pip>=25.1'
	$(RETRIED) $(BIN)/python $(PIP_INSTALL) --group dev --editable '.[torch,spatialdata]'
	touch $@

setup: $(VENV)/.installed ## install the package, the engine and the development tools into .venv

demo: setup ## run the pipeline on a real section and print the path of the report
	$(NEXTFLOW) run main.nf -profile local,demo -resume

picture: setup ## draw the figure of the README from the results of the demo
	$(BIN)/python docs/images/demo.py results/assemble/151673.mmsrl.h5ad results/enhance/151673.enhanced.h5ad docs/images/demo.png

test: lint test-unit test-modules test-pipeline ## all checks and tests that must pass

lint: setup ## run ruff, mypy and the strict Nextflow linter, and check that generated files are up to date
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python dev/generate.py --check
	$(BIN)/python dev/ro_crate.py --check
	$(BIN)/python dev/api_table.py --check
	$(BIN)/python engine/lint.py main.nf workflows subworkflows modules tests

# nf-core's linter runs in a separate environment. .nf-core.yml gives the reason for each check that is off.
build/nf-core/.installed:
	$(PYTHON) -m venv build/nf-core
	$(RETRIED) build/nf-core/bin/python $(PIP_INSTALL) nf-core==4.2.1
	touch $@

lint-nf-core: setup build/nf-core/.installed ## run nf-core's linter
	NXF_OFFLINE=true build/nf-core/bin/nf-core --log-file build/nf-core/lint.log pipelines lint --dir .

test-unit: setup ## run the unit tests of the Python package
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto tests/unit tests/browser

test-modules: setup ## run the nf-test suites of all modules, with nf-test if it is installed, else with the project's runner
	$(BIN)/python engine/nftest.py

test-pipeline: setup ## run the tests of whole pipeline runs
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup tests/pipeline

# Not part of make test: takes 15 minutes.
tutorials: setup ## run docs/tutorials and compare their output with the text (ARGS: --write, names of tutorials)
	OMP_NUM_THREADS=1 $(BIN)/python tests/tutorials.py $(ARGS)

# Not part of make test: takes 20 minutes, 15 GB of disk and a container tool.
test-containers: setup ## build the container images and run the test profile in them, non-root and read-only
	TEST_CONTAINERS=1 $(BIN)/python -m pytest tests/containers

# Universal lock files, for all supported platforms and Python versions. arm64 installs from the same files.
COMPILE := uv --quiet pip compile --universal --python-version 3.11 --upgrade --generate-hashes --no-annotate --no-strip-extras --custom-compile-command 'make lock'
lock: setup ## update the locked versions of the container images, with hashes
	$(RETRIED) $(BIN)/python $(PIP_INSTALL) uv
	$(COMPILE) pyproject.toml --extra image --extra spatialdata -o containers/requirements-cpu.txt
	$(COMPILE) pyproject.toml --extra torch --extra timm --extra spatialdata -c containers/requirements-cpu.txt -o containers/requirements-cuda.txt
	echo awscli | $(COMPILE) - -o containers/requirements-aws.txt
	echo cyclonedx-bom | $(COMPILE) - -o containers/requirements-sbom.txt

bench-accuracy: setup ## score the preset default on the labelled sections in the folder LABELLED
	$(if $(LABELLED),,$(error set the folder of labelled sections: make bench-accuracy LABELLED=folder))
	$(BIN)/python benchmarks/bench_accuracy.py $(LABELLED) --output-dir $(ACCURACY) $(ARGS)

bench-count-model: setup ## score a trained count model in place of principal components on the labelled sections in LABELLED
	$(if $(LABELLED),,$(error set the folder of labelled sections: make bench-count-model LABELLED=folder))
	$(BIN)/python benchmarks/bench_count_model.py $(LABELLED) $(ARGS)

# Other methods run in two separate environments: BANKSY, and methods that need PyTorch.
PEERS := $(ACCURACY)/peers
$(PEERS)/banksy/.installed:
	$(PYTHON) -m venv $(PEERS)/banksy
	$(RETRIED) $(PEERS)/banksy/bin/python $(PIP_INSTALL) pybanksy==1.3.5 scikit-misc==0.5.3
	touch $@

$(PEERS)/torch/.installed:
	$(PYTHON) -m venv $(PEERS)/torch
	$(RETRIED) $(PEERS)/torch/bin/python $(PIP_INSTALL) graphst-modern==1.1.1.post3 stagate-modern==1.0.0.post1 torch_geometric==2.8.1 cellcharter==0.3.7 scvi-tools==1.4.2 spagcn-modern==1.4.1
	touch $@

bench-peers: setup $(PEERS)/banksy/.installed $(PEERS)/torch/.installed ## score other methods on the labelled sections in LABELLED (ARGS: --only, --sections, --minutes)
	$(if $(LABELLED),,$(error set the folder of labelled sections: make bench-peers LABELLED=folder))
	$(BIN)/python benchmarks/bench_peers.py $(LABELLED) --peers $(PEERS) --output-dir $(PEERS)/made $(ARGS)

bench-calibration: setup ## test the calibration of p-values (ARGS: --quick, --only, --real)
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python benchmarks/bench_calibration.py $(ARGS)

bench-study: setup ## compare conditions with and without a planted difference (ARGS: --quick)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_study.py $(ARGS)

bench-normalised: setup ## measure the loss of accuracy if the labelled sections in INPUT were already normalised (ARGS: --only --seed)
	$(BIN)/python benchmarks/bench_normalised.py $(INPUT) $(ARGS)

bench-scale: setup ## run simulated sections of 34,000 to 400,000 bins and 100,000 cells, modelled on the 16 µm bins in INPUT (ARGS: --sizes, --peers)
	$(BIN)/python benchmarks/bench_scale.py $(INPUT) --output-dir results/benchmarks $(ARGS)

bench-samples: setup ## measure the effect of subsampling large units, on the section of about 30,000 spots in INPUT
	$(BIN)/python benchmarks/bench_samples.py $(INPUT)

bench-gpu: setup ## measure the cost of the published presets on a GPU, and their agreement with the CPU
	$(BIN)/python benchmarks/bench_gpu.py --output-dir results/benchmarks $(ARGS)

bench-pooling: setup ## measure what pooling of neighbours saves and changes, on the large section in INPUT
	$(BIN)/python benchmarks/bench_pooling.py $(INPUT)

bench-smoothing: setup ## score domains of simulated sections with and without smoothing across borders (ARGS: --seeds)
	$(BIN)/python benchmarks/bench_smoothing.py $(ARGS)

bench-train: setup ## measure the cost of training: dense reference, published presets and default
	$(BIN)/python benchmarks/bench_train.py --output-dir results/benchmarks
	$(BIN)/python benchmarks/bench_from_disk.py --output-dir results/benchmarks

bench-map: setup ## map sections onto similar and dissimilar references, from the folder SECTIONS
	$(if $(SECTIONS),,$(error set the folder of sections: make bench-map SECTIONS=folder))
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_map.py $(SECTIONS) --output-dir results/benchmarks

bench-joint: setup ## train both demo sections jointly with every preset, and score agreement with the layers and mixing (ARGS: --epochs, ...)
	$(BIN)/python benchmarks/bench_joint.py assets/demo/samplesheet_pair.csv --output-dir results/benchmarks $(ARGS)

bench-features: setup ## measure how well image features predict expression in the sections of SHEET, and their cost (ARGS: --samples, --device)
	$(BIN)/python benchmarks/bench_features.py $(SHEET) --sizes --cost --output-dir results/benchmarks $(ARGS)

bench-load: setup ## run 500 sections as stubs, or the sections of INPUT for real (ARGS: --samples)
	$(BIN)/python benchmarks/bench_load.py $(if $(INPUT),--input $(INPUT)) --output-dir results/benchmarks $(ARGS)

bench-report: setup ## write files, figures, page and report of 100,000 simulated cells (ARGS: --cells, --outlines)
	$(BIN)/python benchmarks/bench_report.py --output-dir results/benchmarks/report $(ARGS)

bench-cohort: setup ## measure memory, size and load time of the report of 96 sections (ARGS: --sections, --results)
	$(BIN)/python benchmarks/bench_cohort.py $(ARGS)

bench-faults: setup ## kill a task and the engine at every stage of a real run, and compare the results
	$(BIN)/python benchmarks/bench_faults.py $(if $(INPUT),--input $(INPUT)) --output-dir results/benchmarks $(ARGS)

release-check: setup ## check that VERSION can be released (docs/release.md)
	RELEASE=$(VERSION) $(BIN)/python -m pytest tests/unit/test_release.py

generate: setup ## write the generated files: parameters (schema, config, docs), docs/api.md and ro-crate-metadata.json
	$(BIN)/python dev/generate.py
	$(BIN)/python dev/ro_crate.py
	$(BIN)/python dev/api_table.py

api: setup ## render the documentation of the Python API into build/api
	$(BIN)/pdoc --docformat numpy --no-show-source --output-directory build/api mmsrl mmsrl.pp mmsrl.tl mmsrl.datasets

errors: setup ## write docs/errors.md from the cases of tests/bad_input
	cd tests && ../$(BIN)/python -W ignore -m bad_input

clean:
	rm -rf $(VENV) work results .nextflow .nextflow.log*
