# Every command that a person or CI runs. `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Arguments for the program under run, bench, bench-tools, bench-market, hostile, loss, operator-scale, conformance, images and e2e: make run ARGS="--port 9000"
ARGS ?=

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- to use

.PHONY: run
run: ## Live prices in the browser, without a cluster (ARGS="--port 9000")
	@echo "building wsgw and the gateway: a few minutes the first time, seconds afterwards"
	@begin=$$SECONDS; cargo build --locked -p wsgw; echo "built in $$((SECONDS - begin)) s, starting: wsgw dev $(ARGS)"
	@exec cargo run --locked --quiet -p wsgw -- dev $(ARGS)

# --- to check

.PHONY: test
test: ## Everything: lints, unit, golden, real servers, real browser
	@hack/test

.PHONY: test-unit
test-unit: ## The tests that need no server and no browser
	cargo test --locked --workspace --exclude wsgateway-tests

.PHONY: lint
lint: ## Format, clippy, dependency rule, licences, generated files
	@hack/lint

.PHONY: sdk
sdk: ## The TypeScript client alone: lint, types, build, tests on a real gateway and in a browser
	@hack/sdk

.PHONY: webkit
webkit: ## The TypeScript client in WebKit, the engine of Safari (installs Debian's WebKitGTK)
	@hack/sdk webkit

.PHONY: clients
clients: ## The clients in Python, Go and Rust alone: lint, types, build, tests on a real gateway
	@hack/clients

.PHONY: fuzz
fuzz: ## Fuzz frames, deflate, heads, commands and the NATS reader (ARGS=seconds for each of six, default 20)
	@hack/fuzz $(ARGS)

.PHONY: deps
deps: ## The dependency rule alone
	@hack/check-deps

.PHONY: check-generated
check-generated: ## Fail when a generated file is out of date
	@hack/generate --check

.PHONY: chart
chart: ## The chart: lint, unit tests, Kubernetes' schemas from 1.30 to 1.36, and a real API server
	@hack/chart --server

.PHONY: conformance
conformance: ## Autobahn's WebSocket suite against the echo server (needs Python 2.7; about 20 minutes)
	@hack/conformance $(ARGS)

.PHONY: nats-matrix
nats-matrix: ## The tests of streams and lookups on nats-server 2.10 to 2.15 (ARGS="-p wsgateway-tests --test gateway" for others)
	@hack/nats-matrix $(ARGS)

.PHONY: docs
docs: ## The documentation as a site in target/site (ARGS="folder")
	@hack/docs $(ARGS)

.PHONY: docs-test
docs-test: ## Links, manifests, values and commands of the docs, tried (ARGS="--text" without commands)
	@hack/docs-test $(ARGS)

.PHONY: describe
describe: ## What kubectl describe shows of broken worlds, held against golden pages (needs kubectl)
	@command -v kubectl >/dev/null || { echo "make describe needs kubectl on PATH: install it" >&2; exit 1; }
	@hack/tools test
	cargo test --locked --workspace --test describe

.PHONY: skew
skew: ## Operator and gateway of the last release next to those of this checkout (REV=commit)
	hack/skew $(REV)

.PHONY: keda
keda: ## The real KEDA scales a WsGateway by a real Prometheus (builds both first: about 8 minutes once)
	@hack/keda

.PHONY: traces
traces: ## A message and a reconciliation, as the real Jaeger shows them (builds it first: about 4 minutes once)
	@hack/traces

.PHONY: advisories
advisories: ## Known vulnerabilities in dependencies (needs the internet)
	hack/cargo-deny check advisories

.PHONY: e2e
e2e: ## Install, serve, scale and delete on the cluster of KUBECONFIG (IMAGE_LOAD="kind load ...")
	@command -v kubectl >/dev/null || { echo "make e2e needs kubectl on PATH: install it" >&2; exit 1; }
	@hack/e2e $(ARGS)

.PHONY: bench
bench: ## The floor, our gateway and other servers, interleaved (50 minutes; ARGS="--quick", ARGS="--help")
	@echo "building the gateway and the benchmark: a few minutes the first time"
	cargo build --locked --release -p gateway -p wsgateway-bench
	@hack/tools nats-server
	@ulimit -n "$$(ulimit -Hn)"; exec "$${CARGO_TARGET_DIR:-target}/release/wsgateway-bench" run $(ARGS)

.PHONY: bench-tools
bench-tools: ## 50,000 clients of `wsgw load`, a day of `wsgw simulate`, two other servers, and `wsgw size` checked (16 minutes; ARGS="--quick", ARGS="--help")
	@echo "building the gateway, wsgw and the benchmark: a few minutes the first time"
	cargo build --locked --release -p gateway -p wsgw -p wsgateway-bench
	@hack/tools nats-server
	@ulimit -n "$$(ulimit -Hn)"; "$${CARGO_TARGET_DIR:-target}/release/wsgateway-bench" tools $(ARGS)
	@[ docs/load-report.png -nt bench/results/stress.html ] || hack/load-picture

.PHONY: bench-market
bench-market: ## Messages per second of CPU of wsgw market, beside the bare client library (3 minutes; ARGS="--rounds 1", ARGS="--help")
	@echo "building wsgw and the benchmark: a few minutes the first time"
	cargo build --locked --release -p wsgw -p wsgateway-bench
	@hack/tools nats-server
	@exec "$${CARGO_TARGET_DIR:-target}/release/wsgateway-bench" market --docs docs $(ARGS)

.PHONY: hostile
hostile: ## What honest clients notice while others do their worst (35 minutes; ARGS="--quick", ARGS="--help")
	@echo "building the gateway and the attacks: a few minutes the first time"
	cargo build --locked --release -p gateway -p wsgateway-hostile
	@hack/tools nats-server
	@ulimit -n "$$(ulimit -Hn)"; exec "$${CARGO_TARGET_DIR:-target}/release/wsgateway-hostile" $(ARGS)

.PHONY: loss
loss: ## What clients lose while gateways, NATS, publishers and the network fail (12 minutes; ARGS="--quick", ARGS="--help")
	@echo "building the gateway and the loss meter: a few minutes the first time"
	cargo build --locked --release -p gateway -p wsgateway-loss
	@hack/sdk build # an older one would be measured in its place
	@hack/tools nats-server
	@ulimit -n "$$(ulimit -Hn)"; exec "$${CARGO_TARGET_DIR:-target}/release/wsgateway-loss" $(ARGS)

.PHONY: operator-scale
operator-scale: ## What 1,000 WsGateways cost the operator, and 10,000 hostile ones (25 minutes; ARGS="--quick", ARGS="--help")
	@echo "building the operator and the measurement: a few minutes the first time"
	cargo build --locked --release -p operator -p wsgateway-operator-scale
	@hack/tools test
	@ulimit -n "$$(ulimit -Hn)"; exec "$${CARGO_TARGET_DIR:-target}/release/wsgateway-operator-scale" $(ARGS)

.PHONY: scale
scale: ## What clients notice while a WsGateway scales, rolls and loses pods on the cluster of KUBECONFIG (15 minutes; ARGS="--help")
	@command -v kubectl >/dev/null || { echo "make scale needs kubectl on PATH: install it" >&2; exit 1; }
	@hack/scale $(ARGS)

.PHONY: monitoring
monitoring: ## Boards and alerts on the cluster of KUBECONFIG: every alert fired by its fault, every panel with data (25 minutes)
	@command -v kubectl >/dev/null || { echo "make monitoring needs kubectl on PATH: install it" >&2; exit 1; }
	@hack/monitoring $(ARGS)

.PHONY: boards
boards: ## Check the Grafana boards and the alerts: schema, queries, unit tests of the rules
	@hack/boards check

# --- to give away

.PHONY: images
images: ## OCI image archives of operator, gateway and wsgw, without Docker (ARGS="--arch arm64", ARGS="--help")
	@hack/images $(ARGS)

.PHONY: images-check
images-check: ## A real containerd runs the images, and a second checkout makes the same ones (needs root; two release builds)
	@hack/images-check $(ARGS)

# --- to change

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: generate
generate: ## Write the CRD, install.yaml, the chart's README and the script of the console page anew
	@hack/generate
	@hack/sdk generate
	@hack/boards generate

# --- to prepare

.PHONY: tools
tools: ## Build the real servers for the tests, once per user (about 5 minutes cold)
	@hack/tools
	@hack/redis

.PHONY: tools-cluster
tools-cluster: ## The same, and those that a whole cluster needs
	@hack/tools test cluster
	@hack/redis

.PHONY: chromium
chromium: ## Install a browser for the tests of the page, if there is none
	@hack/chromium

.PHONY: interop
interop: ## Install the other WebSocket implementations that ours is tested with, once per user
	@hack/interop

.PHONY: clean
clean: ## Remove what cargo built (the tools cache stays: it belongs to the user)
	cargo clean
