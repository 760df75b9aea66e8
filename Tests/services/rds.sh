#!/usr/bin/env bash
# What stands in for Amazon RDS in tests: moto's control plane, and a PostgreSQL server with TLS that stands where a restored
# instance would answer.
#
#   Tests/services/rds.sh start DIR     prints eval-able lines:
#       MUSTER_TEST_RDS_ENDPOINT        moto's RDS and EC2, any credentials, any region
#       MUSTER_TEST_RDS_PORT            of 127.0.0.1: the server; its certificate is for *.aaaaaaaaaa.us-east-1.rds.amazonaws.com,
#                                       the names that moto gives to instances there
#       MUSTER_TEST_RDS_CA_FILE         its authority
#       MUSTER_TEST_RDS_PG              its superuser's libpq connection string, for a test to put data in
#   Tests/services/rds.sh stop DIR
#
# The role `app` signs in with the password `app's: secret\` and by TLS alone. All state is below DIR, which the caller removes.
# moto comes from the Python that MUSTER_TEST_PYTHON names, else python3.
set -euo pipefail
# shellcheck source=lifecycle.sh
. "$(dirname "${BASH_SOURCE[0]}")/lifecycle.sh"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${MUSTER_TEST_PYTHON:-python3}

# An authority and a certificate for the names of moto's instances.
make_certificates() {
    (
        umask 077
        openssl req -x509 -newkey rsa:2048 -nodes -days 7 -subj "/CN=tests of Muster" \
            -keyout "$directory/ca.key" -out "$directory/ca.pem"
        openssl req -newkey rsa:2048 -nodes -subj "/CN=an instance" -keyout "$directory/server.key" \
            -out "$directory/server.csr"
        printf 'subjectAltName=DNS:*.aaaaaaaaaa.us-east-1.rds.amazonaws.com\n' >"$directory/names.cnf"
        openssl x509 -req -days 7 -in "$directory/server.csr" -CA "$directory/ca.pem" -CAkey "$directory/ca.key" \
            -CAcreateserial -extfile "$directory/names.cnf" -out "$directory/server.pem"
    ) >"$directory/openssl.log" 2>&1 || {
        cat "$directory/openssl.log" >&2
        die "openssl failed"
    }
    chmod 0644 "$directory/ca.pem"
}

# The server of postgres.sh, with TLS and a role that needs a password.
start_server() {
    "$here/postgres.sh" start "$directory/postgres" >"$directory/postgres.exports"
    # shellcheck disable=SC1091  # written just now
    . "$directory/postgres.exports"
    local data="$directory/postgres/data" owner
    owner=$(stat -c %U "$data")
    make_certificates
    install -m 0600 -o "$owner" "$directory/server.key" "$data/server.key"
    install -m 0644 -o "$owner" "$directory/server.pem" "$data/server.crt"
    printf "ssl = on\npassword_encryption = 'scram-sha-256'\n" >>"$data/postgresql.conf"
    {
        printf 'hostssl all app 127.0.0.1/32 scram-sha-256\nhost all app 127.0.0.1/32 reject\n'
        cat "$data/pg_hba.conf"
    } >"$directory/pg_hba.conf"
    cat "$directory/pg_hba.conf" >"$data/pg_hba.conf"
    "$MUSTER_TEST_PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -d "$MUSTER_TEST_PG" <<'SQL'
SELECT pg_reload_conf() \g /dev/null
SET password_encryption = 'scram-sha-256';
CREATE ROLE app LOGIN PASSWORD 'app''s: secret\';
GRANT pg_read_all_data TO app;
SQL
}

moto_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }
moto_answers_or_died() { moto_answers || ! kill -0 "$pid" 2>/dev/null; }

start_moto() {
    port=$(free_port)
    (cd "$directory" && exec setsid "$python" -m moto.server -H 127.0.0.1 -p "$port") \
        </dev/null >"$directory/moto.log" 2>&1 &
    pid=$!
    echo "$pid" >"$directory/moto.pid"
    wait_until 60 "moto in $directory answers" moto_answers_or_died && kill -0 "$pid" 2>/dev/null
}

start() {
    if [ -s "$directory/exports" ] && [ -s "$directory/moto.pid" ] && kill -0 "$(cat "$directory/moto.pid")" 2>/dev/null; then
        cat "$directory/exports"
        return
    fi
    stop
    start_server
    local attempt
    for attempt in 1 2 3; do
        if start_moto; then
            {
                printf 'export MUSTER_TEST_RDS_ENDPOINT=http://127.0.0.1:%d\n' "$port"
                printf 'export MUSTER_TEST_RDS_PORT=%d\n' "$(grep -oE 'port=[0-9]+' <<<"$MUSTER_TEST_PG" | cut -d = -f 2)"
                printf 'export MUSTER_TEST_RDS_CA_FILE=%q\n' "$directory/ca.pem"
                printf 'export MUSTER_TEST_RDS_PG="%s"\n' "$MUSTER_TEST_PG"
            } >"$directory/exports"
            cat "$directory/exports"
            return
        fi
        say "attempt $attempt to start moto failed"
    done
    cat "$directory/moto.log" >&2
    die "moto does not start"
}

# moto's command line names no folder of ours: its working directory does.
stop_moto() {
    local pid
    [ -s "$directory/moto.pid" ] || return 0
    read -r pid <"$directory/moto.pid" || true
    if [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$directory" ]; then
        kill -s TERM "$pid"
        wait_until 10 "moto ended" moto_is_gone "$pid" || kill -s KILL "$pid"
    fi
    rm -f "$directory/moto.pid"
}

moto_is_gone() { ! kill -0 "$1" 2>/dev/null; }

stop() {
    rm -f "$directory/exports"
    stop_moto
    "$here/postgres.sh" stop "$directory/postgres"
}

case "${1:-} $#" in
    "start 2" | "stop 2") ;;
    *)
        echo "usage: $0 start DIR | stop DIR" >&2
        exit 64
        ;;
esac
[ "$1" = start ] || [ -d "$2" ] || exit 0
directory=$(own_directory "$2")
chmod 0711 "$directory"
"$1"
