# The front door. Every target installs what it needs or says precisely what is missing.
.DEFAULT_GOAL := help
.PHONY: help quickstart quickstart-down test fuzz bench lint gen dist images tools

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

quickstart: ## the whole path on this machine, for real (SIM=1 HOSTS=50: on ironic-sim)
	@hack/quickstart.sh up

quickstart-down: ## give everything back (FORCE=1: just stop everything)
	@hack/quickstart.sh down

test: ## everything that CI runs, with a count of tests
	@hack/test.sh

fuzz: ## odd input for what reads the data of others (FUZZ_SECONDS=20 for each target)
	@hack/fuzz.sh

bench: ## the figures of the README
	@hack/bench.sh

lint: ## format, lints, arrows, purity, parity, the gRPC contract, drift of generated files
	@cargo xtask check fmt arrows purity drift proto parity clippy

gen: ## CRDs, gRPC code, docs
	@cargo xtask gen

dist: ## the release folder of the clusterctl provider, in dist/
	@hack/tools/build.sh helm
	@cargo xtask dist

images: ## the container images as release would have them, in dist/images, without a Docker daemon
	@hack/images.sh full

tools: ## build the real programs that tests and quickstart use
	@hack/tools/build.sh all
