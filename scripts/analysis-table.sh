#!/usr/bin/env bash
# Prints the tables of docs/analysis.md that compare with checkers by thresholds, from 400 seeded
# rollouts a cell. Ten seconds, the build left out.
set -eu
cd "$(dirname "$0")/.."

TIDEGATE_TABLE=full cargo test --release --locked --test analysis -- \
    --nocapture table::the_tables_are_printed
