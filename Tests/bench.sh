#!/usr/bin/env bash
# Measures how fast Muster is, beside a peer on the same data in the same run. No test: it fails only where it could not
# measure. A missed target is printed as such.
#
#   Tests/bench.sh [--rows N] [--large] [--runs N] [BENCHMARK…]      (--help tells which there are)
#
# Installs what is missing (Debian 12), builds for release, starts a PostgreSQL server of its own and removes it and all
# data again. Anything else that runs on the machine spoils the figures; the load is printed with them.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
services="$root/Tests/services"
figures="$root/Tests/Benchmarks/figures"
work=""

finish() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [ -n "$work" ]; then
        "$services/postgres.sh" stop "$work/postgres"
        rm -rf "$work"
    fi
    exit "$status"
}

main() {
    local exports products product
    exports=$("$services/install.sh" build postgres python bench) || exit
    eval "$exports"
    # What is to be built; nothing where the arguments were wrong or asked for help.
    products=$("$MUSTER_TEST_PYTHON" -B "$figures/bench.py" --needs "$@") || exit
    case " $* " in *" --help "* | *" -h "*)
        echo "$products"
        exit
        ;;
    esac
    cd "$root" || exit 1
    # rclone does not start where the environment names a bundle of certificates; nothing here speaks TLS.
    unset AWS_CA_BUNDLE
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    work=$(cd "$(mktemp -d "${TMPDIR:-/tmp}/muster-bench.XXXXXX")" && pwd -P)
    # The server runs as another OS user and must reach its directory.
    chmod 0711 "$work"
    for product in $products; do swift build -c release --product "$product" >&2 || exit; done
    exports=$("$services/postgres.sh" start "$work/postgres") || exit
    eval "$exports"
    MUSTER_BENCH_BIN=$(swift build -c release --show-bin-path)
    export MUSTER_BENCH_WORK="$work" MUSTER_BENCH_BIN
    PATH="$MUSTER_TEST_PG_BIN:$PATH" "$MUSTER_TEST_PYTHON" -B "$figures/bench.py" "$@"
}

main "$@"
