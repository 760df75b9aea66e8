#!/usr/bin/env bash
# Everything that must hold before a change lands: lint, build, and all tests against real services.
#
#   Tests/run.sh [ARGUMENT…]        arguments go to `swift test`, as --filter JUnitTests
#
# Installs what is missing (Debian 12), starts its own PostgreSQL and S3 gateway on free ports, stops them however it
# ends, and leaves nothing behind but .build; after a failure the services' logs too, in .build/test-logs. Several runs
# may go on at the same time. The last line is `N passed, N failed`; the exit status is 0 only when every step passed and
# at least one test ran.
set -uo pipefail
# Each step gets a process group, so that it can be ended as a whole.
set -m

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root" || exit 1
services="$root/Tests/services"
work=""
current=""      # the process group of the step that runs
starting=()     # the process groups that start services
failed_steps=()
exit_status=0
passed=0
failed=0

say() { printf '\n== %s\n' "$*"; }

# step NAME COMMAND…: runs it, remembers a failure and goes on. A signal to this script is heard meanwhile.
step() {
    local name=$1 began=$SECONDS status
    shift
    say "$name"
    "$@" </dev/null &
    current=$!
    wait "$current"
    status=$?
    current=""
    printf '== %s: %s, %d s\n' "$name" "$([ $status -eq 0 ] && echo ok || echo "failed with status $status")" \
        $((SECONDS - began))
    [ $status -eq 0 ] && return
    failed_steps+=("$name")
    [ $status -le $exit_status ] || exit_status=$status
    return "$status"
}

install_needs() { "$services/install.sh" >"$work/install.exports"; }

# The service's start goes on beside lint and build; `await_services` collects it.
start_service() {
    "$services/$1.sh" start "$work/$1" >"$work/$1.exports" 2>"$work/$1.err" </dev/null &
    starting+=($!)
}

await_services() {
    local pid status=0
    for pid in "${starting[@]}"; do wait "$pid" || status=$?; done
    starting=()
    [ $status -eq 0 ] || cat "$work"/*.err >&2
    return "$status"
}

take_exports() {
    local exports
    for exports in "$@"; do
        # shellcheck disable=SC1090  # written by the service's script
        . "$exports"
    done
}

allowed_names='^(Package\.swift|Sources|Tests|drills|reports|README\.md|\..+)$'

lint() {
    local status=0 script extra
    if ! swift format lint --strict --parallel --recursive Package.swift Sources Tests; then
        echo "most of this is mended by: swift format --in-place --parallel --recursive Package.swift Sources Tests"
        status=1
    fi
    while IFS= read -r -d '' script; do
        case $script in
            *.py) "$MUSTER_TEST_PYTHON" -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$script" || status=1 ;;
            *) bash -n "$script" || status=1 ;;
        esac
    done < <(find Tests drills .ci -type f \( -name '*.sh' -o -name '*.py' -o -path .ci/run \) -print0 2>/dev/null)
    # Only a clone knows which files are the project's.
    if git rev-parse --git-dir >/dev/null 2>&1; then
        extra=$(git ls-files --full-name | cut -d / -f 1 | sort -u | grep -v -E "$allowed_names")
        if [ -n "$extra" ]; then
            echo "not allowed at the top level: $extra"
            status=1
        fi
    fi
    return "$status"
}

# Without --disable-xctest a second, empty run would be printed. With every test at once on a small machine each would wait for
# all others, servers that answer in a second would take minutes, and time limits would say nothing.
run_tests() {
    TMPDIR="$work/tmp" SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=$((3 * $(nproc))) swift test --disable-xctest \
        --event-stream-output-path "$work/events.json" --event-stream-version 0 "$@"
}

count_results() {
    [ -s "$work/events.json" ] || return
    local results
    results=$("$MUSTER_TEST_PYTHON" "$services/results.py" "$work/events.json") || return
    printf '%s\n' "$results" | sed '$d'
    read -r passed failed <<<"${results##*$'\n'}"
}

# What runs on after the services were stopped: processes that name this run's folder in their command line or environment.
leftover_processes() {
    [ -d /proc/self ] || return
    local pid
    grep -lasF -- "$work" /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | cut -d / -f 3 | sort -un |
        while read -r pid; do
            [ "$pid" = $$ ] || ps -ww -o pid=,stat=,args= -p "$pid" | awk '$2 !~ /^Z/'
        done
}

end_group() {
    local group=$1 signal
    for signal in INT TERM KILL; do
        kill -s "$signal" -- "-$group" 2>/dev/null || return
        for _ in {1..30}; do
            kill -0 -- "-$group" 2>/dev/null || return
            sleep 0.1
        done
    done
}

keep_logs() {
    local kept="$root/.build/test-logs/${work##*/}" log
    (cd "$work" && find . -name tmp -prune -o -type f \( -name '*.log' -o -name '*.out' -o -name '*.err' -o -name events.json \) -print0) |
        while IFS= read -r -d '' log; do
            mkdir -p "$kept/$(dirname "$log")" && cp "$work/$log" "$kept/$log"
        done
    echo "logs: $kept"
}

finish() {
    local status=$? group leftovers
    trap - EXIT
    trap '' INT TERM HUP
    for group in $current ${starting[@]+"${starting[@]}"}; do end_group "$group"; done
    [ $status -ne 0 ] || status=$exit_status
    if [ -n "$work" ]; then
        for service in postgres rgw rds; do "$services/$service.sh" stop "$work/$service"; done
        count_results
        leftovers=$(leftover_processes)
        if [ -n "$leftovers" ]; then
            printf '\nprocesses that tests left behind, ended now:\n%s\n' "$leftovers"
            while read -r pid _; do kill -s KILL "$pid" 2>/dev/null; done <<<"$leftovers"
        fi
        [ $status -eq 0 ] || keep_logs
        rm -rf "$work"
    fi
    [ "$failed" -eq 0 ] || [ "$status" -ne 0 ] || status=1
    if [ $((passed + failed)) -eq 0 ]; then
        echo "no test ran"
        [ $status -ne 0 ] || status=1
    fi
    [ ${#failed_steps[@]} -eq 0 ] || printf 'failed: %s\n' "${failed_steps[*]}"
    printf '%d passed, %d failed\n' "$passed" "$failed"
    exit "$status"
}

main() {
    trap finish EXIT
    trap 'failed_steps+=(interrupted); exit 130' INT
    trap 'failed_steps+=(terminated); exit 143' TERM
    trap 'failed_steps+=(hung-up); exit 129' HUP
    work=$(cd "$(mktemp -d "${TMPDIR:-/tmp}/muster-tests.XXXXXX")" && pwd -P)
    # Servers that tests start as another OS user must reach their directories.
    chmod 0711 "$work"
    mkdir -m 1777 "$work/tmp"
    export MUSTER_TEST_RUN="$work"

    step install install_needs || exit
    take_exports "$work/install.exports"
    start_service postgres
    start_service rgw
    start_service rds
    step lint lint
    step build swift build --build-tests || exit
    say services
    await_services || {
        failed_steps+=(services)
        exit 1
    }
    take_exports "$work/postgres.exports" "$work/rgw.exports" "$work/rds.exports"
    MUSTER_BINARY="$(swift build --show-bin-path)/muster"
    export MUSTER_BINARY MUSTER_REQUIRE_SERVICES=1
    step tests run_tests "$@"
    exit $exit_status
}

main "$@"
