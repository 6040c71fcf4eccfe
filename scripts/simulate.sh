#!/usr/bin/env bash
# Runs the simulation many times over (TIDEGATE_SIM_RUNS, 100000 if not set) and says what it cost.
set -eu
cd "$(dirname "$0")/.."

export TIDEGATE_SIM_RUNS="${TIDEGATE_SIM_RUNS:-100000}"
TIMEFORMAT='CPU time: %U s user, %S s system; %R s elapsed'

cargo test --release --locked --test simulation --no-run
echo "simulating: TIDEGATE_SIM_RUNS=$TIDEGATE_SIM_RUNS"
time cargo test --release --locked --test simulation -- --nocapture
