#!/bin/bash
# The same sales by three load generators, one after the other on the running stack (cargo dev up), each on products of
# its own, and after each the books: initial - remaining has to be what the client was told, and the gate has to agree.
# Prints a table. Needs curl, jq and wrk; without k6 in the PATH its rows are left out.
#
#   benches/clients/run.sh [SECONDS per run, default 8]
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-8}
vus=256
rate=2000
plenty=10000000
export TIMEFORMAT='%U %S'

cargo build --quiet --release --package devstack --bin dev
dev=${CARGO_TARGET_DIR:-target}/release/dev
. .dev/env
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# create COUNT STOCK [LIMIT]: hot products with loaded gates; prints their ids, a line each.
create() {
  local body="{\"name\":\"Clients\",\"price\":4900,\"stock\":$2,\"stockStrategy\":\"REDIS_FIRST\"${3:+,\"purchaseLimit\":$3}}"
  for _ in $(seq "$1"); do
    local id
    id=$(curl -sf -X POST "$PRODUCT_URL/v1/products" -H 'Content-Type: application/json' -d "$body" | jq .id)
    curl -sf -X POST "$PRODUCT_ADMIN_URL/admin/products/$id/load-stock-redis" > "$scratch/loaded"
    echo "$id"
  done
}

# judge STOCK IDS: how many the database sold of these products, once no gate differs from it any more.
judge() {
  local stock=$1 ids audit
  ids=$(jq -nc '$ARGS.positional | map(tonumber)' --args "${@:2}")
  for _ in $(seq 100); do
    audit=$(curl -sf "$PRODUCT_ADMIN_URL/admin/stock/audit" | jq -c --argjson ids "$ids" 'map(select(.productId | IN($ids[])))')
    if jq -e 'all(.gate.drift == 0 and .gate.holds == 0)' <<< "$audit" > "$scratch/exact"; then
      jq --argjson stock "$stock" 'map($stock - .databaseStock) | add' <<< "$audit"
      return
    fi
    sleep 0.1
  done
  echo "gate and database differ: $audit" >&2
  return 1
}

# row SCENARIO CLIENT STOCK IDS: judges $scratch/told, prints a row of the table.
row() {
  local ledger told cpu
  told=$(tail -n 1 "$scratch/told")
  read -r -a cpu < "$scratch/cpu"
  ledger=$(judge "$3" "${@:4}")
  jq -rn --argjson told "$told" --argjson ledger "$ledger" --arg scenario "$1" --arg client "$2" \
    --argjson cpu "$(jq -n "${cpu[0]} + ${cpu[1]}")" --argjson seconds "$seconds" \
    --argjson ours "$(jq .answers_per_second "$scratch/ours")" '
    ($told.unknown // $told.failed) as $unknown
    | (if $told.sold <= $ledger and $ledger <= $told.sold + $unknown then "balance" else "WRONG" end) as $books
    | ($cpu * 1e6 / ($told.answers_per_second * $seconds) | round) as $each
    | ($told.answers_per_second / $ours * 100 | round / 100) as $ratio
    | "| \($scenario) | \($client) | \($told.answers_per_second | round) | \($ratio) | \($told.p50_ms) | \($told.p99_ms) | "
      + "\($told.dropped // 0) | \($told.sold) + \($unknown) unknown; \($ledger) | \($books) | \($each) |"'
}

ours() { # SCENARIO ARGUMENTS: makes its products and judges itself
  local scenario=$1
  shift
  { time "$dev" flash-sale --json "$scratch/ours" --concurrency "$vus" "$@" > "$scratch/log" 2> "$scratch/errors"; } \
    2> "$scratch/cpu" || { cat "$scratch/log" "$scratch/errors" >&2; return 1; }
  local cpu
  read -r -a cpu < "$scratch/cpu"
  jq -r --arg scenario "$scenario" --argjson cpu "$(jq -n "${cpu[0]} + ${cpu[1]}")" '
    def ms: . * 10 | round / 10;
    "| \($scenario) | cargo dev flash-sale | \(.answers_per_second | round) | 1 | \(.latency_ms.p50 | ms) | \(.latency_ms.p99 | ms) | "
      + "\(.dropped) | \(.books.products | map(.sold_to_clients) | add) + \(.books.products | map(.unknown) | add) unknown; "
      + "\(.books.products | map(.sold_by_ledger) | add) | \(if .books.balance then "balance" else "WRONG" end) | "
      + "\($cpu * 1e6 / .latency_ms.count | round) |"' "$scratch/ours"
  grep -h '^WARNING' "$scratch/log" >&2 || true
}

with_wrk() { # SCENARIO NAME STOCK IDS
  { time wrk -t1 -c"$vus" -d"${seconds}s" -s benches/clients/sale.lua "$PRODUCT_URL" -- "$2" "${@:4}" > "$scratch/told"; } \
    2> "$scratch/cpu"
  row "$1" wrk "${@:3}"
}

with_k6() { # SCENARIO NAME STOCK IDS
  command -v k6 > "$scratch/which" || return 0
  { time k6 run --quiet --no-usage-report -e PRODUCT_URL="$PRODUCT_URL" -e PRODUCTS="$(IFS=,; echo "${*:4}")" -e SCENARIO="$2" \
    -e VUS="$vus" -e RATE="$rate" -e SECONDS="$seconds" benches/clients/sale.js > "$scratch/told" 2> "$scratch/errors"; } \
    2> "$scratch/cpu"
  row "$1" k6 "${@:3}"
}

echo "| scenario | client | answers/s | of ours | p50 ms | p99 ms | turned away | told + unknown; database | books | client's CPU, us per answer |"
echo "|---|---|---|---|---|---|---|---|---|---|"
name="rush, stock for all"
ours "$name" --stock $plenty --seconds "$seconds"
with_wrk "$name" rush $plenty $(create 1 $plenty)
with_k6 "$name" rush $plenty $(create 1 $plenty)
name="rush, 100 units"
ours "$name" --stock 100 --seconds "$seconds"
with_wrk "$name" rush 100 $(create 1 100)
with_k6 "$name" rush 100 $(create 1 100)
name="one buyer, limit 2"
ours "$name" --scenario one-buyer --buyers 100000000 --seconds "$seconds"
with_wrk "$name" one-buyer 1000 $(create 1 1000 2)
with_k6 "$name" one-buyer 1000 $(create 1 1000 2)
name="zipf, 50 products of 1,000"
ours "$name" --scenario zipf --products 50 --buyers 100000000 --seconds "$seconds"
with_wrk "$name" zipf 1000 $(create 50 1000)
with_k6 "$name" zipf 1000 $(create 50 1000)
name="cancel mix, 100 units"
ours "$name" --scenario cancel-mix --buyers 100000000 --seconds "$seconds"
with_k6 "$name" cancel-mix 100 $(create 1 100)
name="open, $rate arrivals/s"
ours "$name" --stock $plenty --rate "$rate" --seconds "$seconds"
with_k6 "$name" open $plenty $(create 1 $plenty)
