#!/bin/sh
# Instructions per operation of single benchmarks, by valgrind's callgrind: the same on every run, however busy the machine.
# Each is run twice, and the difference counts, so that opening and checking do not.
#
#   ./instructions.sh Decide/decide/random/1k/floor:_one_immutable_map Decide/decide/random/1k/chansec_AuthorizeRead
#
# A name is the family and what go run . -list prints. MORE (default 100000) is by how many operations the two runs differ.
set -eu
more=${MORE:-100000}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
CGO_ENABLED=0 go test -c -o "$dir/bench.test" .

# One thread, no collection, no signals: callgrind knows little of them.
export GOMAXPROCS=1 GOGC=off GODEBUG=asyncpreemptoff=1
count() {
	valgrind --tool=callgrind --callgrind-out-file=/dev/null "$dir/bench.test" -test.run '^$' -test.bench "$1" \
		-test.benchtime "$2x" 2>&1 | awk '/Collected/ { print $4 }'
}
for name; do
	pattern="^Benchmark$(printf %s "$name" | sed 's/[][().*+?^$\\]/\\&/g; s#/#$/^#g')\$"
	few=$(count "$pattern" 1000)
	many=$(count "$pattern" $((1000 + more)))
	echo "$name: $(((many - few) / more)) instructions"
done
