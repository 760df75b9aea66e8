# Starting and stopping throw-away services: ports, waiting, pids. Sourced by the service scripts, not run.
# shellcheck shell=bash

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# A TCP port of 127.0.0.1 on which nobody listens, outside the range from which systems choose ports themselves. Somebody
# else may take it before the service does, so a start that fails is tried again with other ports.
free_port() {
    local port attempt
    for attempt in {1..200}; do
        port=$((10000 + (RANDOM * 32768 + RANDOM) % 22000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    die "no free TCP port found after $attempt attempts"
}

# wait_until SECONDS WORDS CONDITION…: polls the condition; fails after so many seconds, saying which words did not come true.
wait_until() {
    local deadline=$((SECONDS + $1)) words=$2
    shift 2
    until "$@"; do
        if [ $SECONDS -ge $deadline ]; then
            say "still not so: $words"
            return 1
        fi
        sleep 0.1
    done
}

# is_ours PID DIR: a live process whose command line names DIR, so that a pid that was given away again is never killed.
is_ours() {
    case $(ps -ww -o stat=,command= -p "$1" 2>/dev/null) in
        Z*) return 1 ;;
        *"$2"*) return 0 ;;
        *) return 1 ;;
    esac
}

is_gone() { ! is_ours "$@"; }

# stop_process PIDFILE DIR SIGNAL: sends the signal, waits, then kills. Nothing happens where nothing runs.
stop_process() {
    local pid
    [ -s "$1" ] || return 0
    read -r pid <"$1" || true
    if is_ours "$pid" "$2"; then
        kill -s "$3" "$pid"
        if ! wait_until 20 "process $pid ended on SIG$3" is_gone "$pid" "$2"; then
            kill -s KILL "$pid"
            wait_until 10 "process $pid ended on SIGKILL" is_gone "$pid" "$2" || return 1
        fi
    fi
    rm -f "$1"
}

# The directory's own path without symbolic links: what the services' command lines name. Created where it is missing.
own_directory() {
    mkdir -p "$1" && (cd "$1" && pwd -P)
}
