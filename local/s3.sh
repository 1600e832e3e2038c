#!/bin/sh
# The S3 store with its bucket, which anybody may read, as the CDN's domain makes R2's: run by compose.yaml and natively.
# From the environment: LISTEN, PORT, DATA (the folder of the buckets), BUCKET, ROOT_ACCESS_KEY, ROOT_SECRET_KEY, VGW_REGION.
set -eu
versitygw=${VERSITYGW:-versitygw}
mkdir -p "$DATA"
"$versitygw" --quiet --port "$LISTEN:$PORT" posix "$DATA" &
gateway=$!
trap 'kill "$gateway"' TERM INT

export ADMIN_ACCESS_KEY="$ROOT_ACCESS_KEY" ADMIN_SECRET_KEY="$ROOT_SECRET_KEY" ADMIN_REGION="$VGW_REGION"
until [ -d "$DATA/$BUCKET" ]; do
  "$versitygw" admin --endpoint-url "http://127.0.0.1:$PORT" create-bucket --bucket "$BUCKET" --owner "$ROOT_ACCESS_KEY" \
    --acl public-read --object-ownership BucketOwnerPreferred > /dev/null 2>&1 || sleep 0.1
  kill -0 "$gateway" # it ended: its own message says why
done
wait "$gateway"
