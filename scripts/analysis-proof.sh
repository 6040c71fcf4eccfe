#!/usr/bin/env bash
# Measures the guarantee of the analysis: rollouts of healthy greens of several kinds, how many of
# them the comparison rolls back, and with which bound. TIDEGATE_PROOF_RUNS rollouts of each kind,
# 20000 if not set, which takes more than half an hour on two cores.
set -eu
cd "$(dirname "$0")/.."

export TIDEGATE_PROOF_RUNS="${TIDEGATE_PROOF_RUNS:-20000}"
echo "proving: TIDEGATE_PROOF_RUNS=$TIDEGATE_PROOF_RUNS"
cargo test --release --locked --test analysis -- --nocapture
