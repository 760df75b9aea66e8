#!/usr/bin/env bash
# Installs what building and testing need on Debian 12, and only what is missing.
#
#   Tests/services/install.sh [GROUP…]      groups: build postgres s3 tools python html bench; default: all but the last two
#
# Human words go to stderr. stdout is eval-able: MUSTER_TEST_PYTHON, a Python that has boto3, botocore, jsonschema and moto,
# and a PATH on which `aws` is found (group python alone). Packages come from Debian; Python modules go into a virtual
# environment below ${XDG_CACHE_HOME:-~/.cache}/muster-tests unless the machine's own python3 has them already.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/muster-tests"

say() { printf 'install: %s\n' "$*" >&2; }

packages_of() {
    case $1 in
        build) echo libpq-dev libcurl4-openssl-dev libsqlite3-dev pkg-config ;;
        postgres) echo postgresql postgresql-contrib ;;
        s3) echo ceph-mon ceph-osd ceph-mgr radosgw ceph-common curl openssl ;;
        # pg_cron is one of the live wires that a restored server must not follow.
        tools) echo libxml2-utils sqlite3 strace zstd lz4 xz-utils bzip2 pgbackrest barman postgresql-15-cron ;;
        html) echo chromium ;;
        bench) echo rclone curl pgbackrest ;;
        python) ;;
        *)
            say "unknown group '$1'; known: build postgres s3 tools python html bench"
            exit 64
            ;;
    esac
}

# The names among the arguments that dpkg does not know as installed.
missing_packages() {
    local installed
    # dpkg-query's status is 1 as soon as one name is unknown to it, which is an answer here and no error.
    installed=" $(dpkg-query --show --showformat='${binary:Package}=${db:Status-Status} ' "$@" 2>/dev/null || true)"
    local name
    for name in "$@"; do
        # Multi-arch libraries are listed as name:architecture.
        [[ $installed =~ \ "$name"(:[a-z0-9]+)?=installed\  ]] || echo "$name"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        say "not root, and sudo would ask for a password; as root run: $*"
        exit 1
    fi
}

# Debian's postgresql package makes and starts a server of its own when it is installed; no test wants that one.
# A machine that has its own createcluster.conf keeps it.
forbid_default_cluster() {
    local settings=/etc/postgresql-common/createcluster.conf
    [ -e "$settings" ] && return
    as_root mkdir -p "$(dirname "$settings")"
    echo "create_main_cluster = false" | as_root tee "$settings" >/dev/null
}

install_packages() {
    if ! command -v dpkg-query >/dev/null; then
        say "no Debian packages on this system; expecting to find by other means: $*"
        return
    fi
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    case " ${missing[*]} " in *" postgresql "*) forbid_default_cluster ;; esac
    local apt=(env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 apt-get -q -o DPkg::Lock::Timeout=300)
    # A service that a package starts must not inherit our lock.
    as_root "${apt[@]}" update </dev/null >&2 9>&-
    as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >&2 9>&-
}

# Whether this Python has what the tests import; finds the modules without running them, which is quick.
has_modules() {
    "$1" -c '
import importlib.util as util, sys
sys.exit(any(util.find_spec(name) is None for name in ("boto3", "botocore", "jsonschema", "awscli", "moto", "flask", "flask_cors")))' 2>/dev/null
}

install_python() {
    local venv="$cache/python"
    local requirements="$here/requirements.txt"
    if command -v python3 >/dev/null && command -v aws >/dev/null && has_modules python3; then
        printf 'export MUSTER_TEST_PYTHON=%q\n' "$(command -v python3)"
        return
    fi
    if ! { cmp -s "$requirements" "$venv/requirements.txt" && has_modules "$venv/bin/python"; }; then
        install_packages python3 python3-venv
        say "installing Python modules into $venv"
        rm -rf "$venv"
        mkdir -p "$cache"
        python3 -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" </dev/null >&2
        cp "$requirements" "$venv/requirements.txt"
    fi
    printf 'export MUSTER_TEST_PYTHON=%q\n' "$venv/bin/python"
    printf 'export PATH=%q:"$PATH"\n' "$venv/bin"
}

main() {
    [ $# -gt 0 ] || set -- build postgres s3 tools python
    local packages=() group names
    for group in "$@"; do
        names=$(packages_of "$group")
        # shellcheck disable=SC2206  # package names hold no white space
        packages+=($names)
    done
    # Two calls at the same time: the second waits, then finds everything there.
    mkdir -p "$cache"
    exec 9>"$cache/install.lock"
    if command -v flock >/dev/null; then flock 9; fi
    [ ${#packages[@]} -eq 0 ] || install_packages "${packages[@]}"
    case " $* " in *" python "*) install_python ;; esac
}

main "$@"
