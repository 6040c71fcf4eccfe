#!/usr/bin/env bash
# Runs all tests of the proxy. Those of the faults, which take minutes, come last and have a bound of
# their own: TIDEGATE_FAULTS_LIMIT, 15m if not set. More than that is a failure.
set -eu
cd "$(dirname "$0")/.."

limit="${TIDEGATE_FAULTS_LIMIT:-15m}"

cargo test --locked --no-run
others=()
for main in tests/*/main.rs; do
  name=$(basename "$(dirname "$main")")
  if [ "$name" != faults ]; then others+=(--test "$name"); fi
done
cargo test --locked --lib --bins --examples "${others[@]}"
cargo test --locked --doc

# It has a process group of its own, which ends as a whole, and so does not hear of a Ctrl-C.
result=0 start=$SECONDS
timeout --kill-after=30s "$limit" cargo test --locked --test faults &
faults=$!
trap 'kill "$faults"' INT TERM
wait "$faults" || result=$?
took=$((SECONDS - start))
if [ "$result" = 124 ] || [ "$result" = 137 ]; then
  echo "faults: cut after $took s, their reduced form may take $limit" >&2
  exit 1
fi
echo "faults: $took s of at most $limit"
exit "$result"
