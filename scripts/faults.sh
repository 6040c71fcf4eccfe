#!/usr/bin/env bash
# Runs the faults in their full size, on a machine that does nothing else, and leaves a line of
# JSON for each row in target/faults.json: what is promised, what was measured, whether it holds.
set -eu
cd "$(dirname "$0")/.."

export TIDEGATE_FAULTS=full
export TIDEGATE_FAULTS_RESULT="$PWD/target/faults.json"

mkdir -p target
: >"$TIDEGATE_FAULTS_RESULT"
result=0
cargo test --release --locked --test faults -- --test-threads=1 || result=$?
passed=$(grep -c '"passed":true' "$TIDEGATE_FAULTS_RESULT" || true)
echo "faults: $passed of $(wc -l <"$TIDEGATE_FAULTS_RESULT") rows hold, see target/faults.json"
exit "$result"
