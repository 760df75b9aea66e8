#!/usr/bin/env bash
# A throw-away PostgreSQL server for tests: superuser `postgres`, no passwords, no durability, loopback and socket only.
#
#   Tests/services/postgres.sh start DIR    prints eval-able lines: MUSTER_TEST_PG (a libpq connection string, by TCP),
#                                           MUSTER_TEST_PG_SOCKET (the same by Unix socket), MUSTER_TEST_PG_BIN
#   Tests/services/postgres.sh stop DIR
#
# All state is below DIR, which the caller removes. A server that runs is left running and its lines are printed again.
# The tools are those of MUSTER_PG_BIN, else of pg_config, PATH, or the newest below /usr/lib/postgresql. PostgreSQL
# refuses to run as root: then the server runs as the user `postgres`, where there is none as `nobody`.
set -euo pipefail
# shellcheck source=lifecycle.sh
. "$(dirname "${BASH_SOURCE[0]}")/lifecycle.sh"

# The directory that holds initdb and postgres of one installation.
find_tools() {
    local candidates=() candidate
    if [ -n "${MUSTER_PG_BIN:-}" ]; then
        candidates=("$MUSTER_PG_BIN")
    else
        if command -v pg_config >/dev/null; then candidates+=("$(pg_config --bindir)"); fi
        if command -v initdb >/dev/null; then candidates+=("$(dirname "$(command -v initdb)")"); fi
        while read -r candidate; do
            candidates+=("$candidate")
        done < <(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t / -k 5,5nr)
    fi
    for candidate in ${candidates[@]+"${candidates[@]}"}; do
        if [ -x "$candidate/initdb" ] && [ -x "$candidate/postgres" ]; then
            echo "$candidate"
            return
        fi
    done
    die "no PostgreSQL server found; looked in: ${candidates[*]}"
}

is_running() {
    local pid
    [ -s "$directory/data/postmaster.pid" ] && read -r pid <"$directory/data/postmaster.pid" &&
        is_ours "$pid" "$directory/data"
}

# The eighth line of postmaster.pid says when the server takes connections. (PostgreSQL source, miscadmin.h.)
is_ready_or_dead() {
    ! kill -0 "$server_pid" 2>/dev/null || [[ $(sed -n 8p "$directory/data/postmaster.pid" 2>/dev/null) == ready* ]]
}

initialise() {
    rm -rf "$directory/data" "$directory/socket" "$directory/exports"
    mkdir -p "$directory/data" "$directory/socket"
    chmod 0711 "$directory"
    chmod 0700 "$directory/data"
    : >"$directory/server.log"
    if [ "$(id -u)" = 0 ]; then
        chown "$server_user" "$directory/data" "$directory/socket" "$directory/server.log"
    fi
    "${as_server_user[@]}" test -x "$directory/data" ||
        die "the user $server_user cannot reach $directory; each folder on the way needs the right to pass (chmod a+x)"
    "${as_server_user[@]}" "$tools/initdb" --pgdata "$directory/data" --username postgres --auth trust \
        --encoding UTF8 --locale C.UTF-8 --no-sync </dev/null >"$directory/initdb.log" 2>&1 || {
        cat "$directory/initdb.log" >&2
        die "initdb failed"
    }
    cat >>"$directory/data/postgresql.conf" <<SETTINGS
listen_addresses = '127.0.0.1'
unix_socket_directories = '$directory/socket'
max_connections = 200
fsync = off
synchronous_commit = off
full_page_writes = off
max_wal_size = '4GB'
shared_buffers = '128MB'
wal_level = 'logical'
max_prepared_transactions = 20
log_min_messages = 'warning'
log_line_prefix = '%m [%p] %q%u@%d '
timezone = 'UTC'
SETTINGS
}

# Starts the server on a port that is free; its status says whether it came to take connections.
launch() {
    port=$(free_port)
    # Its own session: the terminal's Ctrl-C stops the test run, which then stops the server.
    "${as_server_user[@]}" setsid "$tools/postgres" -D "$directory/data" -p "$port" </dev/null >>"$directory/server.log" 2>&1 &
    server_pid=$!
    wait_until 60 "the server in $directory takes connections" is_ready_or_dead && kill -0 "$server_pid" 2>/dev/null
}

write_exports() {
    local common="port=$port user=postgres dbname=postgres"
    {
        printf 'export MUSTER_TEST_PG="host=127.0.0.1 %s"\n' "$common"
        printf 'export MUSTER_TEST_PG_SOCKET="host=%s %s"\n' "$directory/socket" "$common"
        printf 'export MUSTER_TEST_PG_BIN=%q\n' "$tools"
    } >"$directory/exports"
}

start() {
    if is_running && [ -s "$directory/exports" ]; then
        cat "$directory/exports"
        return
    fi
    stop
    [[ $directory =~ ^[A-Za-z0-9_./+-]+$ ]] || die "the path holds characters that need quoting: $directory"
    # A Unix socket's path has at most 107 bytes.
    [ ${#directory} -le 80 ] || die "the path is too long to hold a Unix socket: $directory"
    tools=$(find_tools)
    initialise
    local attempt
    for attempt in 1 2 3; do
        if launch; then
            write_exports
            cat "$directory/exports"
            return
        fi
        say "attempt $attempt to start the server failed"
    done
    cat "$directory/server.log" >&2
    die "the server does not start"
}

# SIGQUIT is the immediate shutdown: nothing here is to be kept, and no client can hold it up.
stop() { stop_process "$directory/data/postmaster.pid" "$directory/data" QUIT; }

case "${1:-} $#" in
    "start 2" | "stop 2") ;;
    *)
        echo "usage: $0 start DIR | stop DIR" >&2
        exit 64
        ;;
esac
[ "$1" = start ] || [ -d "$2" ] || exit 0
directory=$(own_directory "$2")
server_user=$(id -un)
as_server_user=(env)
if [ "$(id -u)" = 0 ]; then
    server_user=postgres
    id "$server_user" >/dev/null 2>&1 || server_user=nobody
    as_server_user=(setpriv --reuid "$server_user" --regid "$(id -g "$server_user")" --clear-groups --)
fi
"$1"
