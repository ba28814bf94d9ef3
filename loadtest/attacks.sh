#!/usr/bin/env bash
# What attacks do to a well-behaved pair, several times each:
#   loadtest/attacks.sh [ROUNDS [ARGUMENT OF LOADTEST…]]
# As root on Linux the pair and the relay get real-time priority, the pair the higher one, and the attackers keep the
# lowest: the pair stands for peers on machines of their own, which do not wait for a core that the relay has, and
# what else runs here is not to be measured. Without that (or with PLAIN=1) the scheduler's part is in the figures.
# Prints a table of medians, with the least and the most, and ends with 1 when a median is over a limit. Needs node.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly SCENARIOS="slowloris connflood messageflood stall stallswarm"
rounds=${1:-5}
[ $# -eq 0 ] || shift
is_plain=${PLAIN:-}
chrt --fifo 1 true 2>/dev/null || is_plain=1
[ -z "$is_plain" ] || echo "no real-time priority: the scheduler is measured as well" >&2

cargo build --quiet --release -p gunmetal -p loadtest
loadtest=${CARGO_TARGET_DIR:-target}/release/loadtest
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# Real-time priority for all threads of a process but the attackers, who have stepped back to nice 19.
prefer() {
    local thread
    for thread in /proc/"$1"/task/*; do
        [ "$(awk '{ print $19 }' "$thread/stat")" = 19 ] || chrt --fifo --pid "$2" "${thread##*/}"
    done
}

run() {
    local name=$1 pid relay code=0
    shift
    "$loadtest" "$@" --out "$results/$name" >"$results/$name.log" 2>&1 &
    pid=$!
    if [ -z "$is_plain" ]; then
        # The relay serves by then, and a second passes before anything is measured.
        until relay=$(pgrep -P $pid) && grep -q swarm /proc/$pid/task/*/comm; do
            kill -0 $pid
            sleep 0.05
        done
        sleep 0.2
        prefer $pid 20
        prefer "$relay" 10
    fi
    wait $pid || code=$?
    [ $code -eq 0 ] || { tail -n 3 "$results/$name.log" >&2; [ $code -ge 3 ]; }
}

for round in $(seq "$rounds"); do
    for scenario in $SCENARIOS; do
        run "$scenario.$round" "$scenario" "$@"
    done
done

node - "$results" "$rounds" $SCENARIOS <<'EOF'
const [dir, rounds, ...scenarios] = process.argv.slice(2);
const read = path => JSON.parse(require("fs").readFileSync(path));
const spread = (numbers, digits) => {
    const [least, ...rest] = numbers.sort((a, b) => a - b).map(n => n.toFixed(digits));
    const all = [least, ...rest];
    return { median: Number(all[all.length >> 1]), text: `${all[all.length >> 1]} (${least}–${all.at(-1)})` };
};
let isOver = false;
console.log("| | p50 before, ms | under attack | times | p99 before, ms | under attack | times | memory, MiB |");
console.log("|---|---:|---:|---:|---:|---:|---:|---:|");
for (const scenario of scenarios) {
    const runs = [...Array(Number(rounds))].map((_, i) => read(`${dir}/${scenario}.${i + 1}/${scenario}/result.json`));
    const column = (digits, of) => spread(runs.map(of), digits);
    const [p50, p99] = ["p50", "p99"].map(at => [
        column(2, run => run.attack.quiet[at]),
        column(2, run => run.attack.attacked[at]),
        column(2, run => run.attack[`${at}_ratio`]),
    ]);
    const memory = column(0, run => run.server.measured.memory_bytes_max / 2 ** 20);
    isOver ||= p50[2].median > 2 || p99[2].median > 2 || memory.median > 256;
    console.log(`| ${[scenario, ...[...p50, ...p99, memory].map(cell => cell.text)].join(" | ")} |`);
}
process.exit(isOver ? 1 : 0);
EOF
