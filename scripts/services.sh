#!/usr/bin/env bash
# PostgreSQL and an S3 server on this machine's own address, for tests and demos (PostgreSQL does not wait for the disk).
# Usage: scripts/services.sh install [ceph]   install what is missing: needs apt-get and root, or npm
#        eval "$(scripts/services.sh up)"     install, start, and set the variables that MLflow, DVC and the AWS clients read
#        scripts/services.sh down             end both and remove their folder
# The S3 server is s3rver from npm; `up ceph` takes Ceph's RGW, a server for production, in place of it.
# LMC_SERVICES: the folder of all data; LMC_POSTGRES_PORT, LMC_S3_PORT: 54329 and 9200 unless set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TOOLS=$PWD/build/services HOST=127.0.0.1 VERSION=3.7.1
readonly POSTGRES_PORT=${LMC_POSTGRES_PORT:-54329} S3_PORT=${LMC_S3_PORT:-9200}
DIR=${LMC_SERVICES:-${TMPDIR:-/tmp}/lmc_repro-services-$(id -u)}
readonly DIR=${DIR%/}
readonly ENV=$DIR/env

say() { printf 'services: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Runs a command, with its output in the log; ends with one line if it fails.
logged() { "$@" >>"$DIR/log" 2>&1 </dev/null || die "failed: $1 ${2:-}: $(tail -n 1 "$DIR/log"); see $DIR/log"; }

as_postgres() { if [ "$(id -u)" = 0 ]; then (cd / && exec runuser -u postgres -- "$@"); else "$@"; fi; }

apt_install() {
    local root=()
    command -v apt-get >/dev/null || die "no apt-get here; install what these Debian packages hold: $*"
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || die "needs root: sudo apt-get install -y --no-install-recommends $*"
        root=(sudo -n)
    fi
    say "installing $*"
    "${root[@]}" apt-get update -q >/dev/null 2>&1 </dev/null || say "apt-get update failed; going on with the old package lists"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@" >/dev/null 2>&1 </dev/null ||
        die "failed: apt-get install -y --no-install-recommends $*"
}

postgres_programs() {
    local found
    found=$(find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)
    [ -n "$found" ] || found=$(command -v initdb || true)
    [ -n "$found" ] && dirname "$found"
}

install_all() {
    if ! postgres_programs >/dev/null; then
        apt_install postgresql
        postgres_programs >/dev/null || die "PostgreSQL is installed, but there is no /usr/lib/postgresql/*/bin/initdb"
    fi
    if [ "$1" = ceph ]; then
        command -v radosgw ceph-mon ceph-osd ceph-mgr >/dev/null || apt_install radosgw ceph-mon ceph-osd ceph-mgr
    elif [ ! -f "$TOOLS/node_modules/s3rver/bin/s3rver.js" ]; then
        command -v npm >/dev/null || apt_install npm
        say "installing s3rver"
        mkdir -p "$TOOLS"
        npm install --silent --no-audit --no-fund --prefix "$TOOLS" "s3rver@$VERSION" >"$TOOLS/npm.log" 2>&1 </dev/null ||
            die "failed: npm install s3rver@$VERSION; see $TOOLS/npm.log"
    fi
}

free() { ! (exec 3<>"/dev/tcp/$HOST/$1") 2>/dev/null; }

await() {
    for _ in $(seq 150); do free "$1" || return 0; sleep 0.2; done
    die "no answer at $HOST:$1 after 30 s; see $DIR"
}

# Whether the process of a file of ours lives; its number may be another process's by now.
lives() { [ -f "$1" ] && grep -qsF "$DIR" "/proc/$(cat "$1")/cmdline"; }

secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

begin_folder() {
    if [ -e "$DIR" ] && [ ! -f "$ENV" ]; then
        [ -z "$(ls -A "$DIR")" ] || die "$DIR: exists and is not ours; remove it, or set LMC_SERVICES to another folder"
    fi
    mkdir -p "$DIR"
    if [ ! -O "$DIR" ] || [ -L "$DIR" ]; then die "$DIR: belongs to another user; set LMC_SERVICES to another folder"; fi
    chmod 711 "$DIR"  # postgres has a folder in it
    [ -f "$ENV" ] && return
    local password key=S3RVER word=S3RVER  # the only keys that s3rver knows
    password=$(secret)
    if [ "$1" = ceph ]; then key=$(secret) word=$(secret); fi
    (umask 077 && cat >"$ENV.new") <<END
export MLFLOW_BACKEND_STORE_URI=postgresql+psycopg2://lmc:$password@$HOST:$POSTGRES_PORT/mlflow
export MLFLOW_ARTIFACTS_DESTINATION=s3://mlflow
export MLFLOW_S3_ENDPOINT_URL=http://$HOST:$S3_PORT
export AWS_ACCESS_KEY_ID=$key
export AWS_SECRET_ACCESS_KEY=$word
export AWS_DEFAULT_REGION=us-east-1
export LMC_S3_SERVER=$1
END
    mv "$ENV.new" "$ENV"
}

value() { sed -n "s/^export $1=//p" "$ENV"; }

up_postgres() {
    local programs data=$DIR/postgres uri port
    programs=$(postgres_programs)
    uri=$(value MLFLOW_BACKEND_STORE_URI)
    port=${uri##*:} port=${port%/*}
    if [ ! -f "$data/ready" ]; then
        rm -rf "$data"
        mkdir "$data"
        (umask 077 && printf %s "$uri" | sed 's/.*lmc:\(.*\)@.*/\1/' >"$data/password")
        [ "$(id -u)" != 0 ] || chown -R postgres: "$data"
        logged as_postgres "$programs/initdb" -D "$data/base" -U lmc -A scram-sha-256 --pwfile="$data/password" -N
    fi
    if ! as_postgres "$programs/pg_ctl" -D "$data/base" status >/dev/null; then
        free "$port" || die "port $port is taken; set LMC_POSTGRES_PORT to another"
        logged as_postgres "$programs/pg_ctl" -D "$data/base" -w -l "$data/log" start \
            -o "-p $port -c listen_addresses=$HOST -c unix_socket_directories= -c fsync=off"
    fi
    [ -f "$data/ready" ] && return
    export PGPASSWORD
    PGPASSWORD=$(cat "$data/password")
    for name in mlflow auth; do logged "$programs/createdb" -w -h "$HOST" -p "$port" -U lmc "$name"; done
    touch "$data/ready"
}

up_s3rver() {
    lives "$DIR/s3.pid" && return
    free "$1" || die "port $1 is taken; set LMC_S3_PORT to another"
    setsid node "$TOOLS/node_modules/s3rver/bin/s3rver.js" --silent -d "$DIR/s3" -a "$HOST" -p "$1" \
        --configure-bucket mlflow --configure-bucket dvc >"$DIR/s3.log" 2>&1 </dev/null &
    echo $! >"$DIR/s3.pid"
    await "$1"
}

# A cluster of one: monitor, manager, a disk in memory, gateway. Ceph's own ports are 3300, 6789 and from 6800 on.
up_ceph() {
    local c=$DIR/ceph
    [ -f "$c/ready" ] && lives "$c/rgw.pid" && return
    down_ceph
    free "$1" || die "port $1 is taken; set LMC_S3_PORT to another"
    free 3300 || die "port 3300 is taken: another Ceph runs here"
    rm -rf "$c"
    mkdir -p "$c/mgr" "$c/osd"
    cat >"$c/ceph.conf" <<END
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon_host = [v2:$HOST:3300,v1:$HOST:6789]
public_addr = $HOST
cluster_addr = $HOST
ms_bind_ipv4 = true
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
keyring = $c/keyring
run_dir = $c
log_file = $c/\$name.log
pid_file = $c/\$name.pid
admin_socket = $c/\$name.asok
mon_data = $c/mon
mgr_data = $c/mgr
osd_data = $c/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
mon_data_avail_warn = 1
rgw_frontends = beast endpoint=$HOST:$1
rgw_enable_usage_log = false
END
    export CEPH_CONF=$c/ceph.conf
    local id name
    id=$(cat /proc/sys/kernel/random/uuid)
    logged ceph-authtool --create-keyring "$c/keyring" --gen-key -n mon. --cap mon 'allow *'
    for name in client.admin mgr.x osd.0; do
        logged ceph-authtool "$c/keyring" --gen-key -n $name --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
    done
    logged monmaptool --create --addv a "[v2:$HOST:3300,v1:$HOST:6789]" --fsid "$(sed -n 's/^fsid = //p' "$CEPH_CONF")" "$c/monmap"
    logged ceph-mon --mkfs -i a --monmap "$c/monmap" --keyring "$c/keyring"
    logged ceph-mon -c "$CEPH_CONF" -i a
    logged timeout 30 ceph auth import -i "$c/keyring"
    logged ceph-mgr -c "$CEPH_CONF" -i x
    logged timeout 30 ceph osd new "$id"
    logged ceph-osd -i 0 --mkfs --osd-uuid "$id"
    logged ceph-osd -c "$CEPH_CONF" -i 0
    logged timeout 30 ceph osd crush add osd.0 1.0 host=here root=default
    setsid radosgw -c "$CEPH_CONF" -n client.admin --keyring="$c/keyring" -f >"$c/rgw.out" 2>&1 </dev/null &
    echo $! >"$c/rgw.pid"
    await "$1"
    logged timeout 60 radosgw-admin user create --uid=lmc --display-name=lmc \
        --access-key="$(value AWS_ACCESS_KEY_ID)" --secret-key="$(value AWS_SECRET_ACCESS_KEY)"
    for name in mlflow dvc; do
        printf 'user = "%s:%s"\n' "$(value AWS_ACCESS_KEY_ID)" "$(value AWS_SECRET_ACCESS_KEY)" |
            curl -sSf -K - --aws-sigv4 aws:amz:us-east-1:s3 -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' \
                -X PUT "http://$HOST:$1/$name" >>"$DIR/log" 2>&1 || die "failed: making the bucket $name; see $DIR/log"
    done
    touch "$c/ready"
}

end() { if lives "$1"; then kill "$(cat "$1")"; for _ in $(seq 50); do lives "$1" || return 0; sleep 0.1; done; kill -9 "$(cat "$1")"; fi; }

down_ceph() { for name in rgw osd.0 mgr.x mon.a; do end "$DIR/ceph/$name.pid"; done; }

down() {
    local programs
    [ -f "$ENV" ] || { say "nothing is there: $DIR"; return; }
    end "$DIR/s3.pid"
    down_ceph
    if programs=$(postgres_programs) && [ -d "$DIR/postgres/base" ]; then
        as_postgres "$programs/pg_ctl" -D "$DIR/postgres/base" -m immediate stop >/dev/null 2>&1 || true
    fi
    rm -rf "$DIR"
}

up() {
    local server=$1 port
    [ ! -f "$ENV" ] || server=$(value LMC_S3_SERVER)
    install_all "$server"
    begin_folder "$server"
    up_postgres
    port=$(value MLFLOW_S3_ENDPOINT_URL) port=${port##*:}
    "up_$server" "$port"
    cat "$ENV"
}

readonly COMMAND=${1:-} SERVER=${2:-s3rver}
case "$COMMAND $SERVER" in
    "up s3rver" | "up ceph") up "$SERVER" ;;
    "install s3rver" | "install ceph") install_all "$SERVER" ;;
    "down s3rver") down ;;
    *) die "found: $*; allowed: install [ceph], up [ceph], down" ;;
esac
