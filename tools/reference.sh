#!/bin/sh
# usage: tools/reference.sh OUT: measures all that REPORT.md is made from, in one sitting of two
# hours; `make reference` calls it. Nothing else may run. Needs root for power cuts and partitions,
# and the other systems and senders (CONTRIBUTING.md). OUT is a folder in here that is not there
# yet; at the end it becomes results/reference, and what was that OUT.before.
# A run that is INVALID stays in, and the report says so; what FAILED, or a search without an
# answer, ends the sitting.
set -eu
cd "$(dirname "$0")/.."
out=$PWD/$1
refuse() { echo "$1" >&2; exit 2; }
[ ! -e "$out" ] && [ ! -e "$out.before" ] || refuse "$out or $out.before is there already"
# Without them the tests of the senders that are not installed are skipped, and nothing else says
# so.
[ -n "${SEKALI_SENDERS:-}" ] && [ -d "$SEKALI_SENDERS/usr" ] ||
	refuse "SEKALI_SENDERS names no folder of unpacked senders: run .ci/senders DIR, and set SEKALI_SENDERS=DIR"
senders=$(cd "$SEKALI_SENDERS" && pwd) # the tests run in another folder
unset SEKALI_SENDERS # an aggregator warns of a variable that it does not know
changes=$(git status --porcelain) # a git that cannot say ends it here
[ -z "$changes" ] || refuse "uncommitted changes: a figure could not name its commit"
[ "$(id -u)" -eq 0 ] || refuse "power cuts and partitions need root, and would be skipped"
for program in aggregator aggregator-crash bench sekali-log yardsticks victoria-logs; do
	[ -x "bin/$program" ] || refuse "bin/$program is not built: call make reference"
done
mkdir -p "$out"

step() { # COMMAND...; 3 is INVALID
	echo "$(date -u +%H:%M:%S) $*"
	"$@" || { code=$?; [ $code -eq 3 ] || { echo "exit $code: $*" >&2; exit 1; }; }
}
scenarios() { # [-repeat N] NAME...
	repeat=1
	if [ "$1" = -repeat ]; then repeat=$2; shift 2; fi
	for name in "$@"; do set -- "$@" -scenario "$name"; shift; done
	step bin/bench run -out "$out" -repeat "$repeat" "$@"
}

step bin/bench run -out "$out"
scenarios -repeat 2 throughput ack-levels steady burst kill
scenarios growth recovery dedup reads read-streams slow-disk small-requests
scenarios cluster cluster-cost cluster-kill-leader cluster-partition cluster-join cluster-join-large
step bin/bench saturate -out "$out"
# No report is made of a search without a curve: better now than in an hour.
grep -q '"curve": "runs/' "$out"/runs/saturate-*/search.json || { echo "the search has no curve" >&2; exit 1; }
step bin/yardsticks -out "$out/yardsticks"
step bin/bench soak -out "$out/soak" -time "${SOAK_TIME:-30m}"
step bin/bench cluster-faults -out "$out/cluster-faults"
step bin/bench faults -out "$out/faults"
echo "$(date -u +%H:%M:%S) the senders"
(cd integration/senders && SEKALI_SENDERS="$senders" SEKALI_SENDERS_RECORD="$out/senders.json" \
	go test -count=1 -timeout 20m ./...)

# As the report looks for them: the runs, and one file or folder of each experiment.
mv "$out"/runs/* "$out"
mv "$out"/yardsticks/*/yardsticks.json "$out"
rm -rf "$out/runs" "$out/yardsticks" "$out/latest"
rm "$out/soak/requests.csv.gz" # 50 MB; the record of the soak has what its figures need
find "$out" -name report.html -delete # a third of the bytes, and `bench serve` makes them anew
mv results/reference "$out.before"
mv "$out" results/reference
bin/bench report
bin/bench verify
