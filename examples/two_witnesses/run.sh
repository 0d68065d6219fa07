#!/usr/bin/env bash
# A bank, two witnesses of its log, and a checkpoint that is good only if both of them have signed it.
# All of it is in a folder that is removed at the end; nothing of another bank is touched.
set -euo pipefail

folder=$(mktemp -d)
chmod 711 "$folder" # PostgreSQL runs as a user of its own where this runs as root
export LATTICEBANK_DATA=$folder/bank LATTICEBANK_KEK_PASSPHRASE='nothing real is in this bank'
export LATTICEBANK_CLIENT_ADDRESS
bank='' witnesses=()
trap 'kill -INT $bank "${witnesses[@]}" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
set -m # every job in a process group of its own, so that Ctrl-C comes here first

said() { # waits until file $1 has a line with $2, and prints it
    for _ in {1..300}; do
        grep -s -m 1 -- "$2" "$1" && return
        sleep 0.1
    done
    cat "$1" >&2
    return 1
}

open_bank() {
    latticebank up --no-demo --port 0 2> "$folder/bank.log" &
    bank=$!
    LATTICEBANK_CLIENT_ADDRESS=$(said "$folder/bank.log" 'The bank is open at' | grep -o 'http://[^ ]*')
}

in_time() { # repeats a command until it succeeds: what a bank has only just written is public a moment later
    for _ in {1..50}; do
        "$@" && return
        sleep 0.2
    done
    return 1
}

policy() { latticebank log policy > "$folder/bank.policy" 2> "$folder/trouble"; }

is_witnessed() {
    latticebank log download "$folder/mirror" &> "$folder/trouble" &&
        latticebank verify "$folder/mirror" --policy "$folder/my.policy" > "$folder/verdict"
}

open_bank
in_time policy
for name in w1 w2; do
    latticebank witness --policy "$folder/bank.policy" --folder "$folder/$name" --name "witness.example/$name" \
        --port 0 &> "$folder/$name.log" &
    witnesses+=($!)
    said "$folder/$name.log" '^witness ' >> "$folder/witnesses.policy"
done

kill -INT "$bank" && wait "$bank" # the bank reads who its witnesses are when it opens
export LATTICEBANK_WITNESSES=$folder/witnesses.policy
open_bank

{
    grep '^log ' "$folder/bank.policy"
    cat "$folder/witnesses.policy"
    echo 'group both all w1 w2'
    echo 'quorum both'
} > "$folder/my.policy"
in_time is_witnessed
cut -c 1-100 "$folder/mirror/checkpoint"
echo
sed "s|$folder/||" "$folder/verdict"
