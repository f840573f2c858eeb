# Everything a reader of README.md is told to type. Needs Go, git and make.
SHELL := /bin/sh
.DEFAULT_GOAL := help

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GO_BUILD := CGO_ENABLED=0 go build -trimpath -ldflags "-X main.version=$(VERSION)"
GO_TOOL  := go tool -modfile=$(CURDIR)/tools/go.mod

# The race detector needs cgo, and so a C compiler, which a machine with Go and make may lack.
RACE := $(shell command -v "$$(go env CC)" >/dev/null 2>&1 && echo -race)
# What the race detector does not watch: SQLite, which is C in translation and knows no goroutine.
# To watch it takes time and finds nothing. Only a package that compiles no generic function of
# another may stand here (go tool nm shows them): the linker keeps one copy of such a function for
# all, and an unwatched copy of sync.Map's hides locks from the detector, which then reports races
# that are none. modernc.org/sqlite, modernc.org/libc and klauspost's compressors have such.
UNWATCHED := modernc.org/sqlite/lib modernc.org/memory
RACE_FLAGS := $(if $(RACE),-race $(foreach package,$(UNWATCHED),-gcflags=$(package)=-race=false))

# Bounds one package's tests. integration has taken up to 9 minutes beside other packages on 2 slow
# cores.
TEST_TIMEOUT ?= 20m
# The build tags, of which only the packages that know one are vetted with it; and the modules
# beside the main one. The last two take two minutes to compile.
TAGS := sekali_crash sekali_slow
BESIDE ?= integration/senders sekali-log bench/yardsticks integration/senders/collector
# Time for each fuzz target of `make fuzz`, and for the load of `make soak`.
FUZZ_TIME ?= 20s
SOAK_TIME ?= 30m
# How often `make bench-micro` repeats each benchmark; benchstat wants 6 at least.
COUNT ?= 6

# They compile as `make build` does, so that SQLite, which takes one to two minutes, is compiled
# once.
test lint log-test senders-test: export GOFLAGS := -trimpath $(GOFLAGS)
test lint log-test senders-test: export CGO_ENABLED := 0

.PHONY: help build bench test faults cluster-faults mutants soak reference compare profile report verify lint vuln sbom release module fuzz log log-test cluster compose-test senders-test yardsticks bench-micro

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

build: ## bin/aggregator, bin/loadgen, bin/bench
	$(GO_BUILD) -o bin/ ./cmd/aggregator ./cmd/loadgen ./cmd/bench

# A module of its own: the first build takes a minute for the server in it.
log: ## bin/sekali-log, the log of a cluster
	cd sekali-log && $(GO_BUILD) -o ../bin/ .

cluster: build log ## three log servers and three aggregators on this machine, until Ctrl-C [DATA=folder] [PORT=8080]
	@bin/bench cluster $(if $(DATA),-dir $(DATA)) $(if $(PORT),-port $(PORT))

log-test: ## three servers of the log: killed, stopped, replaced, and the control
	cd sekali-log && $(TESTS) --packages=./... -- -count=1 $(if $(CI),-short) -timeout 10m

# For people: an INVALID run, exit code 3, says why in its last lines and is no error of make's.
# Scripts call bin/bench run, whose exit code is the verdict.
bench: build $(if $(findstring cluster,$(SCENARIO)),log) ## run and audit the scenarios [SCENARIO=burst] [REPEAT=5]
	@bin/bench run $(if $(SCENARIO),-scenario $(SCENARIO)) $(if $(REPEAT),-repeat $(REPEAT)) || test $$? -eq 3

# What the race detector watches: all that the aggregator, the load generator and the client do at
# the same time, and the lab beside a load. The other tests share nothing between goroutines, or
# drive programs, which are built without it.
WATCHED := /(aggregator|loadgen|client|bench/(experiment/(runner|soak|faults)|internal/audit|record|system))(/|$$)
# Of these, packages whose code and tests start no goroutine: a test of internal/house keeps it so.
# What others do with them at the same time is watched in the tests of those. ingest takes 8 x as
# long watched.
ALONE := aggregator/(event|internal/(disk|ingest))|bench/record|loadgen/stream
# The half without it is the shorter one, and takes half of the processors.
HALF := $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$(((n + 1) / 2)))
# How often a test that failed is tried again, for a machine that stops for seconds; each failure is
# told all the same.
RERUN ?= 0
TESTS := $(GO_TOOL) gotestsum --format standard-quiet --rerun-fails=$(RERUN) --rerun-fails-max-failures=3
TEST_FLAGS := -vet=off -timeout $(TEST_TIMEOUT)

# Many tests build the programs, and those that do so at the same time would each compile SQLite: so
# they are built first. Of each half the longest package comes first; it mostly waits. `make lint`
# vets.
test: build ## all tests, race detector included; what cannot run here says why
	@$(if $(RACE),:,echo "skipped: the race detector, which needs a C compiler ($$(go env CC) is not installed)")
	@all=$$(go list ./...) && code=0 && { \
	$(TESTS) --packages="$$(echo ./integration ./docs $$(echo "$$all" | grep -E '/($(ALONE))$$'; echo "$$all" | grep -vE '$(WATCHED)|/integration$$|/docs$$'))" -- $(TEST_FLAGS) -p $(HALF) & \
	CGO_ENABLED=$(if $(RACE),1,0) $(TESTS) --packages="$$(echo ./bench/experiment/runner $$(echo "$$all" | grep -E '$(WATCHED)' | grep -vE '/($(ALONE)|bench/experiment/runner)$$'))" -- $(TEST_FLAGS) $(RACE_FLAGS) || code=1; \
	wait $$! || code=1; } && exit $$code

compare: build ## two runs or result folders, side by side: A=<run> B=<run>
	@test -n "$(A)" && test -n "$(B)" || { echo "usage: make compare A=<run> B=<run>" >&2; exit 2; }
	bin/bench compare $(A) $(B)

profile: build ## CPU, heap, mutex and block profiles of a run: SCENARIO=<name>
	@test -n "$(SCENARIO)" || { echo "usage: make profile SCENARIO=<name>" >&2; exit 2; }
	bin/bench profile -scenario $(SCENARIO)

report: build ## REPORT.md from results/reference/
	bin/bench report

verify: build ## recompute every figure of REPORT.md from the raw files
	bin/bench verify

lint: ## gofmt, go vet with every build tag, staticcheck, and the modules' files [BESIDE=modules]
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt'ed:" $$unformatted >&2; exit 1; }
	go vet ./...
	@for tag in $(TAGS); do \
		echo "go vet -tags $$tag"; \
		go vet -tags $$tag $$(grep -rl --include='*.go' "^//go:build.*$$tag" . | xargs -n1 dirname | sort -u) || exit 1; \
	done
	$(GO_TOOL) staticcheck ./...
	go mod verify
	go mod tidy -diff
	@for module in $(BESIDE); do \
		echo "$$module: go vet, staticcheck"; \
		(cd $$module && go vet ./... && $(GO_TOOL) staticcheck ./...) || exit 1; \
	done

# Fixed numbers of iterations where the cost depends on how much is stored: two outputs compare the
# same work.
MICRO := go test -run '^$$' -timeout 60m -count $(COUNT)
bench-micro: ## the parts alone, for benchstat, about 15 minutes: make -s bench-micro > new.txt [COUNT=6]
	$(MICRO) -bench . ./aggregator/event ./aggregator/internal/ingest ./aggregator/journal
	$(MICRO) -bench Decide -benchtime 20x ./aggregator/dedup
	$(MICRO) -bench 'Apply/dedup/layout/batch=(5000|50000)$$' -benchtime 20x ./aggregator/store
	$(MICRO) -bench Topics -benchtime 10x ./aggregator/store
	$(MICRO) -bench 'Events|Backup' -benchtime 3x ./aggregator/store
	$(MICRO) -bench Expire -benchtime 30x ./aggregator/store
	$(MICRO) -bench Pipeline -benchtime 10x ./aggregator/pipeline

# VictoriaLogs is built as its own module wants it, with cgo if there is a C compiler.
yardsticks: build ## Sekali beside other systems, same events, about 6 minutes [ONLY=sekali,redis]
	cd bench/yardsticks && go test ./... && $(GO_BUILD) -o ../../bin/yardsticks .
	cd bench/yardsticks/victorialogs && go build -trimpath -o ../../../bin/victoria-logs github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs || \
		echo "VictoriaLogs could not be built: going on without"
	bin/yardsticks $(if $(ONLY),-only $(ONLY))

# A machine that cannot reach the database is not one with vulnerable modules; what govulncheck
# finds fails.
vuln: ## known vulnerabilities in what the binaries call (govulncheck)
	@mkdir -p bin; $(GO_TOOL) govulncheck ./... 2>bin/vuln.err; status=$$?; \
	if grep -qE 'fetching vulnerabilities|vuln\.go\.dev' bin/vuln.err; then echo "not run: $$(tail -1 bin/vuln.err)"; exit 0; fi; \
	cat bin/vuln.err >&2; exit $$status

sbom: build ## bin/*.cdx.json: what each binary consists of (CycloneDX)
	for program in aggregator loadgen bench; do \
		$(GO_TOOL) cyclonedx-gomod bin -json -std -noserial -notimestamp -output bin/$$program.cdx.json bin/$$program || exit 1; \
	done

PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
release: ## bin/release: static programs for linux and darwin, packages for Debian, SBOMs, checksums
	tools/release.sh "$(VERSION)" $(PLATFORMS)

module: ## another path for the module, everywhere: NAME=example.org/sekali
	@tools/module.sh "$(NAME)"

faults: build ## kill, cut, fill, starve and damage it at length, and print what was lost (needs root, strace and mkfs.ext4 for all of it)
	$(GO_BUILD) -tags sekali_crash -o bin/aggregator-crash ./cmd/aggregator
	bin/bench faults

cluster-faults: build log ## the same to a cluster of three, and the controls, at most 40 minutes (needs root for partitions and power cuts)
	bin/bench cluster-faults

mutants: build ## aggregators that lie, one kind after the other, and what the lab says to each, about 5 minutes
	$(GO_BUILD) -tags sekali_crash -o bin/aggregator-crash ./cmd/aggregator
	bin/bench mutants -write docs/design/mutants.md

soak: build ## SOAK_TIME (30m) at half speed with SIGKILLs, readers and slow clients: nothing lost, nothing that grows
	bin/bench soak -time $(SOAK_TIME)

# The programs first, for all are built from one commit and nothing is compiled while figures are
# taken.
reference: build log ## measure all that REPORT.md is made from anew, alone, about 2 hours: results/reference [SOAK_TIME=30m]
	$(GO_BUILD) -tags sekali_crash -o bin/aggregator-crash ./cmd/aggregator
	cd bench/yardsticks && go test ./... && $(GO_BUILD) -o ../../bin/yardsticks .
	cd bench/yardsticks/victorialogs && go build -trimpath -o ../../../bin/victoria-logs github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs
	cd integration/senders && go test -run NONE ./...
	SOAK_TIME=$(SOAK_TIME) tools/reference.sh results/sitting

# Up to 1.26 Go may call it a failure that the time is over (golang.org/issue/75804): such a one has
# no failing input.
fuzz: ## each fuzz target for FUZZ_TIME (20s) [FUZZ=aggregator/event]
	@grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | grep -E '$(FUZZ)' | \
	while IFS=: read -r file target; do \
		echo "$$(dirname $$file) $${target#func }"; \
		[ -d "$$(dirname $$file)/testdata/fuzz/$${target#func }" ] || { echo "has no corpus"; exit 1; }; \
		log=$$(go test -run '^$$' -fuzz "^$${target#func }\$$" -fuzztime $(FUZZ_TIME) -fuzzminimizetime 10x "./$$(dirname $$file)" 2>&1); code=$$?; \
		echo "$$log"; \
		case "$$code$$log" in 0*) ;; *"Failing input"*) exit 1 ;; *"    context deadline exceeded"*) echo "no failing input: the end of the time, reported as a failure" ;; *) exit 1 ;; esac; \
	done

compose-test: ## docker-compose.yml for real: needs a Docker engine
	SEKALI_COMPOSE_TEST=1 go test -count=1 -v -timeout 30m ./compose

senders-test: ## other programs' senders, answers lost and the aggregator killed: results/senders/senders.json [SKIP=TestDocker]
	cd integration/senders && $(if $(filter 0,$(RERUN)),SEKALI_SENDERS_RECORD=$(CURDIR)/results/senders/senders.json) \
		SEKALI_SENDERS=$(abspath $(SEKALI_SENDERS)) $(TESTS) --packages=./... -- -count=1 -timeout 20m $(if $(SKIP),-skip '$(SKIP)')
