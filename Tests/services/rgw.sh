#!/usr/bin/env bash
# A throw-away S3 with real versioning for tests: Ceph's RADOS Gateway on one monitor, one manager and one OSD in memory.
#
#   Tests/services/rgw.sh start DIR     prints eval-able lines (about 15 s):
#       MUSTER_TEST_S3_ENDPOINT, _REGION, _ACCESS_KEY, _SECRET_KEY     the user that owns what tests create
#       MUSTER_TEST_S3_OTHER_ACCESS_KEY, _OTHER_SECRET_KEY             a user who may do nothing, not even create buckets
#       MUSTER_TEST_S3_TLS_ENDPOINT, MUSTER_TEST_S3_CA_FILE            the same gateway by TLS, its certificate self-signed
#   Tests/services/rgw.sh grant DIR BUCKET [ACTION…]
#       lets the other user do exactly these on the bucket and its objects, as s3:ListBucket s3:GetObject; none: nothing
#   Tests/services/rgw.sh stop DIR
#
# Path style and virtual-host style (BUCKET.localhost), any region. All state is below DIR, which the caller removes. A
# gateway that runs is left running and its lines are printed again; one that was stopped starts anew and empty.
set -euo pipefail
# shellcheck source=lifecycle.sh
. "$(dirname "${BASH_SOURCE[0]}")/lifecycle.sh"

# Another Python first on the PATH would be taken by the manager and by the `ceph` command for Debian's.
PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:$PATH
daemons=(radosgw osd mgr mon)

random_word() {
    local characters
    characters=$(head -c 1024 /dev/urandom | LC_ALL=C tr -dc "$1")
    echo "${characters:0:$2}"
}

ceph_cli() { ceph --conf "$directory/ceph.conf" --connect-timeout 30 "$@" </dev/null 2>>"$directory/ceph.log"; }

write_configuration() {
    fsid=$(cat /proc/sys/kernel/random/uuid)
    monitor="127.0.0.1:$(free_port)"
    port=$(free_port)
    tls_port=$(free_port)
    cat >"$directory/ceph.conf" <<SETTINGS
[global]
fsid = $fsid
mon host = $monitor
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = $directory/keyring
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
run dir = $directory
log file = $directory/\$name.log
mon cluster log file = $directory/cluster.log
pid file = $directory/\$name.pid
admin socket =
crash dir = $directory
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon warn on pool no redundancy = false
# Our few MB fit on a disk that is rather full too.
mon data avail warn = 1
mon data avail crit = 1

[mon]
mon data = $directory/mon
mon initial members = a

[mgr]
mgr data = $directory/mgr
mgr initial modules =

[osd]
osd data = $directory/osd
osd objectstore = memstore
memstore device bytes = 8589934592
osd max object name len = 2048

[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:$port ssl_endpoint=127.0.0.1:$tls_port ssl_certificate=$directory/tls.pem
rgw dns name = localhost
rgw enable usage log = false
rgw enable ops log = false
SETTINGS
}

write_keyring() {
    local keyring="$directory/keyring"
    ceph-authtool --create-keyring "$keyring" --gen-key -n mon. --cap mon 'allow *'
    ceph-authtool "$keyring" --gen-key -n client.admin \
        --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' --cap mds 'allow *'
    ceph-authtool "$keyring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' --cap mgr 'allow profile osd'
    ceph-authtool "$keyring" --gen-key -n mgr.x --cap mon 'allow profile mgr' --cap osd 'allow *' --cap mds 'allow *'
    ceph-authtool "$keyring" --gen-key -n client.rgw.a --cap mon 'allow rw' --cap osd 'allow rwx' --cap mgr 'allow rw'
}

write_certificate() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1' \
        -keyout "$directory/tls.key" -out "$directory/ca.pem"
    cat "$directory/tls.key" "$directory/ca.pem" >"$directory/tls.pem"
}

# launch NAME COMMAND…: a daemon in its own session, so that the terminal's Ctrl-C does not reach it.
launch() {
    local name=$1
    shift
    setsid "$@" --conf "$directory/ceph.conf" </dev/null >>"$directory/$name.out" 2>&1 &
    echo $! >"$directory/$name.process"
}

runs() {
    local pid
    [ -s "$directory/$1.process" ] && read -r pid <"$directory/$1.process" && is_ours "$pid" "$directory"
}

answers_or_dead() {
    ! runs radosgw || curl --silent --noproxy '*' --max-time 5 --output /dev/null "http://127.0.0.1:$port/"
}

launch_cluster() {
    write_configuration
    write_keyring
    write_certificate
    monmaptool --create --add a "$monitor" --fsid "$fsid" "$directory/monmap"
    mkdir -p "$directory/mon" "$directory/mgr" "$directory/osd"
    ceph-mon --conf "$directory/ceph.conf" --mkfs -i a --monmap "$directory/monmap" --keyring "$directory/keyring"
    launch mon ceph-mon -f -i a
    launch mgr ceph-mgr -f -i x
    local osd_uuid secret
    osd_uuid=$(cat /proc/sys/kernel/random/uuid)
    secret=$(ceph-authtool "$directory/keyring" -n osd.0 --print-key)
    wait_until 60 "the monitor answers" ceph_cli status
    printf '{"cephx_secret": "%s"}' "$secret" >"$directory/osd.json"
    ceph_cli osd new "$osd_uuid" 0 -i "$directory/osd.json"
    ceph-osd --conf "$directory/ceph.conf" --mkfs -i 0 --osd-uuid "$osd_uuid"
    launch osd ceph-osd -f -i 0
    ceph_cli osd set-full-ratio 0.97
    ceph_cli osd set-backfillfull-ratio 0.96
    launch radosgw radosgw -f -n client.rgw.a
    wait_until 120 "the gateway answers on port $port" answers_or_dead
    runs radosgw
}

create_user() {
    radosgw-admin --conf "$directory/ceph.conf" -n client.rgw.a user create \
        --uid "$1" --display-name "$1" --access-key "$2" --secret-key "$3" "${@:4}"
}

write_exports() {
    local access secret other_access other_secret
    access=$(random_word A-Z0-9 20)
    secret=$(random_word A-Za-z0-9/+ 40)
    other_access=$(random_word A-Z0-9 20)
    other_secret=$(random_word A-Za-z0-9/+ 40)
    create_user owner "$access" "$secret"
    create_user other "$other_access" "$other_secret" --max-buckets=-1
    cat >"$directory/exports.new" <<EXPORTS
export MUSTER_TEST_S3_ENDPOINT=http://127.0.0.1:$port
export MUSTER_TEST_S3_REGION=us-east-1
export MUSTER_TEST_S3_ACCESS_KEY=$access
export MUSTER_TEST_S3_SECRET_KEY=$secret
export MUSTER_TEST_S3_OTHER_ACCESS_KEY=$other_access
export MUSTER_TEST_S3_OTHER_SECRET_KEY=$other_secret
export MUSTER_TEST_S3_TLS_ENDPOINT=https://localhost:$tls_port
export MUSTER_TEST_S3_CA_FILE=$directory/ca.pem
EXPORTS
    mv "$directory/exports.new" "$directory/exports"
}

wipe() {
    rm -rf "$directory"/{mon,mgr,osd,monmap,keyring,ceph.conf,osd.json,tls.key,tls.pem,ca.pem,exports}
    rm -f "$directory"/*.log "$directory"/*.out "$directory"/*.pid "$directory"/*.process
}

start() {
    if runs radosgw && runs osd && runs mon && [ -s "$directory/exports" ]; then
        cat "$directory/exports"
        return
    fi
    [[ $directory =~ ^[A-Za-z0-9_./+-]+$ ]] || die "the path holds characters that ceph.conf cannot: $directory"
    local attempt
    for attempt in 1 2; do
        stop
        wipe
        # In a shell of its own, for `set -e` to end it at the first command that fails.
        set +e
        (set -e; launch_cluster; write_exports) >>"$directory/start.log" 2>&1
        local status=$?
        set -e
        if [ $status -eq 0 ]; then
            cat "$directory/exports"
            return
        fi
        say "attempt $attempt to start the gateway failed"
        stop
    done
    tail -n 20 "$directory"/*.log "$directory"/*.out >&2
    die "the gateway does not start"
}

# Killed, not asked: an OSD in memory writes all it holds to the disk when it is asked to end.
stop() {
    local daemon
    for daemon in "${daemons[@]}"; do stop_process "$directory/$daemon.process" "$directory" KILL; done
}

grant() {
    local bucket=$1
    shift
    local exports
    exports=$(cat "$directory/exports")
    eval "$exports"
    export AWS_ACCESS_KEY_ID=$MUSTER_TEST_S3_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$MUSTER_TEST_S3_SECRET_KEY
    local request=(aws --endpoint-url "$MUSTER_TEST_S3_ENDPOINT" --region "$MUSTER_TEST_S3_REGION" s3api)
    if [ $# -eq 0 ]; then
        "${request[@]}" delete-bucket-policy --bucket "$bucket"
        return
    fi
    local actions
    actions=$(printf '"%s",' "$@")
    "${request[@]}" put-bucket-policy --bucket "$bucket" --policy "{\"Version\": \"2012-10-17\", \"Statement\": [{
        \"Effect\": \"Allow\", \"Principal\": {\"AWS\": [\"arn:aws:iam:::user/other\"]}, \"Action\": [${actions%,}],
        \"Resource\": [\"arn:aws:s3:::$bucket\", \"arn:aws:s3:::$bucket/*\"]}]}"
}

case "${1:-} $#" in
    "start 2" | "stop 2") ;;
    "grant "[3-9] | "grant "[1-9][0-9]) ;;
    *)
        echo "usage: $0 start DIR | grant DIR BUCKET [ACTION…] | stop DIR" >&2
        exit 64
        ;;
esac
[ "$1" != stop ] || [ -d "$2" ] || exit 0
directory=$(own_directory "$2")
"$1" "${@:3}"
