#!/usr/bin/env bash
# Attacks a running Tidegate with scripts that are not ours: malformed HTTP/1.1, bytes that come
# while a request is in flight, attacks on HTTP/2, and clients that drip. Shows a table; a missed
# bar is a failure.
#
#   TIDEGATE_SHARED   the folder with vectors/ and faults/ in it; ../shared if not set
#   TIDEGATE_BINARY   the binary to attack; if not set, the release is built and attacked
#   TIDEGATE_ATTACKS  only the attacks whose names contain this
set -eu
cd "$(dirname "$0")/.."

shared=${TIDEGATE_SHARED:-../shared}
only=${TIDEGATE_ATTACKS:-}
for script in vectors/http1_vectors.py vectors/http1_vectors.json faults/pipeline_race.py \
  faults/h2_abuse.py faults/slow_drip.py; do
  if [ ! -r "$shared/$script" ]; then
    echo "attacks: there is no $shared/$script. The scripts are kept outside of this repository, in" >&2
    echo "the folder shared/ beside it; TIDEGATE_SHARED=FOLDER names another place. The tests in" >&2
    echo "tests/vectors and tests/faults have what was learned from them and need nothing else." >&2
    exit 1
  fi
done

binary=${TIDEGATE_BINARY:-}
if [ -z "$binary" ]; then
  cargo build --release --locked
  binary=target/release/tidegate
fi

folder=$(mktemp -d)
started=()
# Only what was started here is ended, by its id.
clean_up() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

# Below the range from which the system takes the ports of outgoing connections.
read -r http http_vectors http_race h2c admin vectors_at race_at target_at < <(python3 -c '
import random, socket
found = []
while len(found) < 8:
    port = random.randrange(15000, 32000)
    try: socket.create_server(("127.0.0.1", port)).close()
    except OSError: continue
    if port not in found: found.append(port)
print(*found)')

# Everything that an attack is about has its default, but for how long a client may read nothing:
# its script gives up before the minute is over.
cat >"$folder/tidegate.yaml" <<CONFIG
listeners:
  - { name: http, address: '127.0.0.1:$http', rules: [{ service: target }], limits: { response_write: 15s } }
  - { name: h2c, address: '127.0.0.1:$h2c', protocol: h2c, rules: [{ service: target }] }
  - { name: vectors, address: '127.0.0.1:$http_vectors', rules: [{ service: vectors }] }
  - { name: race, address: '127.0.0.1:$http_race', rules: [{ service: race }] }
target_groups:
  target-a: { targets: ['127.0.0.1:$target_at'] }
  target-b: { targets: [] }
  vectors-a: { targets: ['127.0.0.1:$vectors_at'] }
  vectors-b: { targets: [] }
  race-a: { targets: ['127.0.0.1:$race_at'] }
  race-b: { targets: [] }
services:
  target: { target_groups: [target-a, target-b] }
  # Its target is slow to come and drops connections, all by intention.
  vectors: { target_groups: [vectors-a, vectors-b], outlier_ejection: off }
  race: { target_groups: [race-a, race-b], outlier_ejection: off }
admin: { address: '127.0.0.1:$admin' }
store: { path: tidegate.db }
CONFIG

answers() { python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1)' "$1" 2>/dev/null; }
wait_for() {
  for _ in $(seq 150); do
    if answers "$1"; then return; fi
    sleep 0.2
  done
  echo "attacks: nothing listens on port $1" >&2
  cat "$folder/stderr.log" >&2
  exit 1
}
python3 scripts/attacks_target.py "$target_at" 2>"$folder/target.log" &
started+=($!)
wait_for "$target_at"
"$binary" serve --config "$folder/tidegate.yaml" >/dev/null 2>"$folder/stderr.log" &
tidegate=$!
started+=("$tidegate")
for port in "$http" "$h2c" "$http_vectors" "$http_race"; do wait_for "$port"; done

table=()
missed=0
# judge NAME BAR HOLDS MEASURED: a row of the table.
judge() {
  local holds=holds
  if [ "$3" != 0 ]; then holds=MISSED missed=1; fi
  if ! kill -0 "$tidegate" 2>/dev/null; then holds=MISSED missed=1; fi
  table+=("$(printf '%-24s %-6s  %-46s %s' "$1" "$holds" "$2" "$4")")
}
# wanted NAME: whether the attack belongs to this run, and says that it begins.
wanted() {
  case "$1" in *"$only"*) echo "== $1" ;; *) return 1 ;; esac
}
# lines TEXT PATTERN: how many lines of it match.
lines() { grep -c -- "$2" <<<"$1" || true; }

vectors() { # NAME ARGUMENT...
  local name=$1 said result=0
  shift
  wanted "$name" || return 0
  said=$(python3 "$shared/vectors/http1_vectors.py" "127.0.0.1:$http_vectors" \
    --origin-port "$vectors_at" "$@" 2>&1) || result=1
  echo "$said"
  # Without its last line it did not come to its end.
  [ "$(lines "$said" '^# total')" = 1 ] || result=1
  judge "$name" "0 FAIL" "$result" "$(tail -n 1 <<<"$said" | sed 's/^# total //')"
}

race() {
  local said passed result=0
  wanted pipeline_race || return 0
  said=$(python3 "$shared/faults/pipeline_race.py" "127.0.0.1:$http_race" "$race_at" 2>&1) || result=1
  echo "$said"
  passed=$(lines "$said" '-> PASS$')
  [ "$passed" = 4 ] || result=1
  judge pipeline_race "4 of 4: each request runs once" "$result" "$passed of 4"
}

h2_abuse() {
  local said cut grown passed result=0
  wanted h2_abuse || return 0
  # What is measured from is a process that has seen it all once.
  python3 "$shared/faults/h2_abuse.py" "127.0.0.1:$h2c" --pid "$tidegate" >/dev/null 2>&1 || true
  said=$(python3 "$shared/faults/h2_abuse.py" "127.0.0.1:$h2c" --pid "$tidegate" 2>&1) || result=1
  echo "$said"
  passed=$(lines "$said" '-> PASS$')
  # All of them get a GOAWAY but one: streams that nobody reads have a deadline, each for itself.
  cut=$(grep -c '^\(rapid_reset\|made_you_reset\|continuation\|empty_cont\|hpack_bomb\|ping_flood\|settings_flood\|empty_data\|priority_flood\|reset_window0\) .*GOAWAY code' <<<"$said" || true)
  grown=$(sed -n 's/.* rss+\(-\{0,1\}[0-9]*\) MiB .*/\1/p' <<<"$said" | sort -n | tail -n 1)
  [ "$passed" = 11 ] && [ "$cut" = 10 ] && [ "${grown:-99}" -le 16 ] || result=1
  judge h2_abuse "11 of 11, 10 by GOAWAY, at most 16 MiB more" "$result" \
    "$passed of 11, $cut by GOAWAY, ${grown:-?} MiB more"
}

drip() { # MODE ARGUMENT...
  local name="slow_drip $1" said result=0
  wanted "$name" || return 0
  said=$(python3 "$shared/faults/slow_drip.py" "127.0.0.1:$http" --mode "$@" 2>&1) || result=1
  echo "$said"
  [ "$(lines "$said" '-> PASS$')" = 1 ] || result=1
  judge "$name" "all cut before 35 s, others served" "$result" "$(sed 's/^.* conns=/conns=/; s/ -> .*//' <<<"$said")"
}

# How many connections of clients a port of the process has established.
established() {
  local port
  port=$(printf ':%04X' "$1")
  awk -v port="$port" '$4 == "01" && substr($2, length($2) - 4) == port' "/proc/$tidegate/net/tcp" | wc -l
}

# A client that reads nothing is not told by its system that it was cut, so that its script calls
# every connection open: what counts is that the proxy has none any more.
drip_read() {
  local name="slow_drip read" said reading before left result=0
  wanted "$name" || return 0
  python3 "$shared/faults/slow_drip.py" "127.0.0.1:$http" --mode read --path /large --secs 40 \
    >"$folder/read.txt" 2>&1 &
  reading=$!
  sleep 5
  before=$(established "$http")
  sleep 30
  # One of them may be a request of somebody who does read.
  left=$(established "$http")
  wait "$reading" || result=1
  said=$(cat "$folder/read.txt")
  echo "$said"
  [ "$before" -ge 50 ] && [ "$left" -le 1 ] && [ "$(lines "$said" ' bad=0 ')" = 1 ] || result=1
  judge "$name" "all cut before 35 s, others served" "$result" \
    "open after 5 s: $before, after 35 s: $left |$(sed 's/^[^|]*|//; s/ -> .*//' <<<"$said")"
}

vectors http1_vectors
vectors "http1_vectors origin cl" --origin cl
vectors "http1_vectors split 1" --split 1
race
h2_abuse
drip header
drip body
drip idle
drip_read

echo
printf '%s\n' "${table[@]}"
if [ "$missed" != 0 ]; then
  echo "attacks: a bar is missed" >&2
  tail -n 20 "$folder/stderr.log" >&2
fi
exit "$missed"
