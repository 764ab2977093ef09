#!/usr/bin/env bash
# A real S3 server for the tests: Ceph's RADOS Gateway over one storage daemon in memory, from Debian's packages.
#
#   scripts/s3-ceph.sh start   installs what is missing (as root), starts, prints address and keys as shell exports
#   scripts/s3-ceph.sh stop    stops what start started and deletes its data
#
# To use it:  eval "$(scripts/s3-ceph.sh start)"
#
# It listens on 127.0.0.1 only, and keeps nothing: objects live in memory, the rest in S3_CEPH_DIR.
# Settings: S3_CEPH_DIR (/tmp/s3-ceph), S3_CEPH_PORT (7480), S3_CEPH_ACCESS_KEY, S3_CEPH_SECRET_KEY.
set -euo pipefail

dir=${S3_CEPH_DIR:-/tmp/s3-ceph}
port=${S3_CEPH_PORT:-7480}
access_key=${S3_CEPH_ACCESS_KEY:-testaccesskey}
secret_key=${S3_CEPH_SECRET_KEY:-testsecretkey}
conf=$dir/ceph.conf
url=http://127.0.0.1:$port

install_missing() {
  local program
  for program in ceph ceph-mon ceph-osd radosgw curl; do
    command -v "$program" >/dev/null && continue
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends ceph-base ceph-mon ceph-osd radosgw curl
    return
  done
}

write_conf() {
  cat >"$conf" <<CONF
[global]
fsid = $1
mon host = [v2:127.0.0.1:3300/0,v1:127.0.0.1:6789/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
mon data avail crit = 1
run dir = $dir/run
log file = $dir/log/\$name.log
admin socket = $dir/run/\$name.asok
pid file = $dir/run/\$name.pid
ms bind ipv6 = false
ms mon client mode = crc

[mon.a]
mon data = $dir/mon/a

[osd.0]
osd data = $dir/osd/0
osd objectstore = memstore
memstore device bytes = 4294967296

[client.rgw]
rgw data = $dir/rgw
rgw frontends = beast endpoint=127.0.0.1:$port
rgw enable usage log = false
CONF
}

start_monitor() {
  monmaptool --create --clobber --fsid "$1" --addv a '[v2:127.0.0.1:3300/0,v1:127.0.0.1:6789/0]' "$dir/monmap"
  ceph-mon -c "$conf" -i a --mkfs --monmap "$dir/monmap"
  ceph-mon -c "$conf" -i a
  timeout 60 ceph -c "$conf" -s
}

start_storage() {
  local id
  id=$(cat /proc/sys/kernel/random/uuid)
  timeout 60 ceph -c "$conf" osd new "$id"
  ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$id"
  timeout 60 ceph -c "$conf" osd crush add osd.0 1.0 root=default host=local
  ceph-osd -c "$conf" -i 0
}

start_gateway() {
  # Waits until the storage daemon is up: the first command that stores something.
  timeout 120 radosgw-admin -c "$conf" -n client.rgw user create --uid=test --display-name=test \
    --access-key="$access_key" --secret-key="$secret_key"
  radosgw -c "$conf" -n client.rgw
  local try
  for ((try = 0; try < 60; try++)); do
    curl -sf "$url/" && return
    sleep 0.5
  done
  echo "radosgw did not answer at $url; see $dir/log" >&2
  return 1
}

start() {
  local fsid
  fsid=$(cat /proc/sys/kernel/random/uuid)
  install_missing
  stop
  mkdir -p "$dir"/{run,mon/a,osd/0,log,rgw}
  write_conf "$fsid"
  start_monitor "$fsid"
  start_storage
  start_gateway
}

stop() {
  [ -d "$dir" ] || return 0
  local file pid pids=() wait
  for file in "$dir"/run/*.pid; do
    [ -e "$file" ] && pids+=("$(cat "$file")")
  done
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  # Their ports must be free before the next start.
  for pid in "${pids[@]}"; do
    for ((wait = 0; wait < 50; wait++)); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.2
    done
  done
  rm -rf "$dir"
}

case "${1:-}" in
  start)
    # Output is for eval: what the daemons say goes to the other stream.
    start >&2
    echo "export S3_ENDPOINT=$url AWS_ACCESS_KEY_ID=$access_key AWS_SECRET_ACCESS_KEY=$secret_key AWS_REGION=us-east-1"
    ;;
  stop) stop ;;
  *)
    echo "usage: $0 start|stop" >&2
    exit 2
    ;;
esac
