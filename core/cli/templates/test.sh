#!/bin/sh
# Runs the stage alone and in a pipeline, and compares what comes out.
#
#     sh test.sh [SLUICE [BUILD_DIR]]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sluice=${1:-sluice}
build=${2:-$here/build}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export SLUICE_STATE="$out/state" SLUICE_CACHE="$out/cache"

expect() { # FILE TEXT
    if [ "$(cat "$1")" != "$2" ]; then
        echo "test.sh: $1 holds \"$(cat "$1")\", not \"$2\"" >&2
        exit 1
    fi
}

"$sluice" stage @NAME@/hello --plugins "$build" -o "$out" --quiet
expect "$out/text.txt" "Hello, world!"

echo "Ada" > "$out/ada.txt"
"$sluice" run "$here/pipeline.yaml" "$out/ada.txt" --plugins "$build" --set greeting=Welcome \
    -o "$out/greeted" --quiet
expect "$out/greeted/ada.txt" "Welcome, Ada!"
echo "test.sh: ok"
