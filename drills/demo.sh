#!/usr/bin/env bash
# From nothing to a drill: installs what is missing (Debian, Ubuntu), builds a release binary, makes a sample application with two
# nightly backup sets and drills both. Needs no server: PostgreSQL runs throw-away, the buckets are directories.
#
#   drills/demo.sh [DIRECTORY]      a new directory for what it makes; default: a fresh one below $TMPDIR or /var/tmp
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

case "${1:-}" in
    -h | --help)
        sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
esac
if [ $# -gt 1 ]; then
    echo "demo.sh: one directory at the most" >&2
    exit 64
fi

Tests/services/install.sh build postgres >/dev/null
command -v swift >/dev/null || {
    echo "demo.sh: no swift on this machine; install Swift 6.2 or newer from swift.org" >&2
    exit 2
}
echo "Building a release binary (some minutes the first time) …" >&2
swift build -c release --product muster >&2
muster="$(swift build -c release --show-bin-path)/muster"

if [ $# -eq 1 ]; then
    directory=$1
else
    # A fresh parent: the demo itself insists on making its directory.
    parent=$(mktemp -d "${TMPDIR:-/var/tmp}/muster-demo.XXXXXX")
    chmod 755 "$parent"
    directory=$parent/demo
fi
cd "$root"
exec "$muster" demo --directory "$directory"
