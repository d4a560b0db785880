#!/usr/bin/env bash
# Publishes each line of standard input, a JSON text, on a subject: ./publish.sh SUBJECT < lines
#
# NATS_URL says where NATS is (default nats://127.0.0.1:4222); wsgw is on PATH.
set -euo pipefail

[ $# = 1 ] || { echo "usage: publish.sh SUBJECT < lines" >&2; exit 2; }

# Stores a message once: the stream drops repetitions of an id, so an attempt without an answer is repeated.
publish() { # subject, payload
  local id attempt=1 answer
  id=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  until answer=$(printf %s "$2" | wsgw pub --nats "${NATS_URL:-nats://127.0.0.1:4222}" --id "$id" --json "$1" -); do
    [ "$attempt" -lt 5 ] || return 1
    sleep "0.$attempt"
    attempt=$((attempt + 1))
  done
  sed -E 's/.*"sequence":([0-9]+).*/stored as \1/' <<<"$answer"
}

while IFS= read -r line || [ -n "$line" ]; do
  publish "$1" "$line"
done
