#!/usr/bin/env bash
# Runs the simulation many times over (TIDEGATE_SIM_RUNS, 100000 if not set) and says what it cost.
# More than a minute of CPU for each 100000 runs begun is a failure; TIDEGATE_SIM_CPU_SECONDS sets
# another limit.
set -eu
cd "$(dirname "$0")/.."

export TIDEGATE_SIM_RUNS="${TIDEGATE_SIM_RUNS:-100000}"
limit="${TIDEGATE_SIM_CPU_SECONDS:-$(((TIDEGATE_SIM_RUNS + 99999) / 100000 * 60))}"

cargo test --release --locked --test simulation --no-run
echo "simulating: TIDEGATE_SIM_RUNS=$TIDEGATE_SIM_RUNS"
# What the simulation says goes past the measured time.
exec 3>&1 4>&2
TIMEFORMAT='%3U %3S %3R'
spent=$({ time cargo test --release --locked --test simulation -- --nocapture >&3 2>&4; } 2>&1)
read -r user system elapsed <<<"$spent"
echo "CPU time: $user s user, $system s system; $elapsed s elapsed"

# In milliseconds, for the shell counts in whole numbers.
ms() { echo "$((10#${1/[.,]/}))"; }
if (($(ms "$user") + $(ms "$system") > limit * 1000)); then
  echo "the simulation took more than $limit s of CPU" >&2
  exit 1
fi
