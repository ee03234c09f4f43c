#!/usr/bin/env bash
# Brings the newest etcd and ZooKeeper that Debian carries onto this machine, to measure against, without touching the
# installed system, and starts and stops them. Packages come through the sources that this machine's apt has: the servers from
# the distribution's development release, Java, which ZooKeeper runs on, from the release of this machine. They are unpacked
# into folders.
#
#   registries.sh get etcd|zookeeper [DIR]                  unpacks it, if it is not there; prints the version
#   registries.sh start etcd|zookeeper DATA PORT [DIR]      starts one that has its data in DATA and takes clients on 127.0.0.1:PORT
#   registries.sh stop DATA                                 ends it and waits until it has ended
#
# DIR     default: ~/.cache/etcd or ~/.cache/zookeeper
# DATA    a folder of its own for each; made when missing, left there by `stop`. DATA/pid is the process, DATA/log what it says.
#         DATA/options, where there is one, is added to what it is started with: words of etcd's command line, or lines of
#         ZooKeeper's zoo.cfg. DATA/java, where there is one, holds words for Java
#
# Both have their defaults but for addresses, the level of the log, and what a server for ten thousand clients of one machine
# needs (ZooKeeper allows 60).
set -euo pipefail

source "$(dirname "$0")/servers.sh"

# Downloads packages of Debian's development release, without what they depend on, and unpacks them.
from_development() {
  (cd "$(folder "$dir/debs")" && development_apt download "$@")
  unpack
}

# The same of this machine's release.
from_release() {
  (cd "$dir/debs" && apt-get -qq -oAPT::Sandbox::User="$(id -un)" download "$@")
  unpack
}

get() {
  if [ ! -e "$dir/ready" ]; then
    rm -rf "$dir/root" "$dir/debs" "$dir/version"
    mkdir -p "$dir"/{root,debs}
    "get_$name"
    touch "$dir/ready"
    rm -rf "$dir/debs" "$dir/apt"
  fi
  cat "$dir/version"
}

get_etcd() {
  from_development etcd-server libc6
  # With the C library that it was built for.
  local libraries loader
  libraries=$dir/root/usr/lib/$(uname -m)-linux-gnu
  loader=$(echo "$libraries"/ld-linux-*)
  printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$loader" "$libraries" "$dir/root/usr/bin/etcd" > "$dir/etcd"
  chmod +x "$dir/etcd"
  "$dir/etcd" --version | sed -n 's/^etcd Version: /etcd /p' > "$dir/version"
}

get_zookeeper() {
  local java
  java=$(apt-cache depends default-jre-headless | sed -n 's/^ *Depends: \(openjdk-[0-9]*-jre-headless\)$/\1/p' | head -1)
  [ -n "$java" ] || fail "apt knows no Java (run apt-get update first)"
  from_release "$java"
  from_development zookeeper libzookeeper-java libslf4j-java libnetty-java libnetty-common-java libnetty-buffer-java \
    libdropwizard-metrics-java libsnappy-java libcommons-cli-java libcommons-io-java libjackson2-core-java \
    libjackson2-databind-java libjackson2-annotations-java libjctools-java libfindbugs-annotations-java
  # Java's settings, where it is now.
  local home link
  home=$(find "$dir/root/usr/lib/jvm" -maxdepth 1 -type d -name "java-*-openjdk-*" | head -1)
  find "$home" -type l -lname '/etc/*' | while read -r link; do ln -sfn "$dir/root$(readlink "$link")" "$link"; done
  ln -sfn "$home/bin/java" "$dir/java"
  local jar
  jar=$(readlink -f "$dir/root/usr/share/java/zookeeper.jar")
  printf 'ZooKeeper %s on Java %s\n' "$(basename "$jar" .jar | sed 's/.*-//')" \
    "$("$dir/java" -version 2>&1 | sed -n '1s/.*"\(.*\)".*/\1/p')" > "$dir/version"
}

# Whether it answers as one that takes requests; it listens earlier.
serves() {
  case $name in
    etcd) asks "$1" 'GET /health HTTP/1.0\r\n\r\n' '"health":"true"' ;;
    zookeeper) asks "$1" 'srvr' '^Mode: ' ;;
  esac
}

# Says something to a port, and whether the answer holds what it is to hold.
asks() { (exec 3<> "/dev/tcp/127.0.0.1/$1" && printf "$2" >&3 && timeout 2 cat <&3 | grep -q "$3") 2> /dev/null; }

start() {
  local port=$1
  [ -e "$dir/ready" ] || get > /dev/null
  if listens "$port"; then fail "port $port is taken"; fi
  ulimit -n "$(ulimit -H -n)"
  "start_$name" "$port"
  await "$name" serves "$port"
}

start_etcd() {
  local at=http://127.0.0.1:$1 peer=http://127.0.0.1:1 extra=()
  if [ -e "$data/options" ]; then read -r -a extra < "$data/options" || true; fi
  # Other members, of which there are none, would be heard on any port. All that is measured and its history are to fit,
  # which takes more than the 2 GB of the default.
  "$dir/etcd" --name measured --data-dir "$data/etcd" --listen-client-urls "$at" --advertise-client-urls "$at" \
    --listen-peer-urls http://127.0.0.1:0 --initial-advertise-peer-urls "$peer" --initial-cluster "measured=$peer" \
    --log-level warn --quota-backend-bytes 8000000000 "${extra[@]}" > "$data/log" 2>&1 < /dev/null &
  echo $! > "$data/pid"
}

start_zookeeper() {
  local jars java more=()
  # Of the things that take its log, one: the one that writes to its error output.
  jars=$(find "$dir/root/usr/share/java" -name '*.jar' ! -name 'slf4j-*' -printf '%p:')
  jars+=$dir/root/usr/share/java/slf4j-api.jar:$dir/root/usr/share/java/slf4j-simple.jar
  java=(-Dorg.slf4j.simpleLogger.defaultLogLevel=warn)
  {
    printf 'dataDir=%s\nclientPort=%s\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n' "$data/zookeeper" "$1"
    printf 'maxClientCnxns=0\ntickTime=2000\nmaxSessionTimeout=600000\n4lw.commands.whitelist=mntr,srvr\n'
    if [ -e "$data/options" ]; then cat "$data/options"; fi
  } > "$data/zoo.cfg"
  if [ -e "$data/java" ]; then read -r -a more < "$data/java" || true; fi
  "$dir/java" -cp "$jars" "${java[@]}" "${more[@]}" org.apache.zookeeper.server.quorum.QuorumPeerMain "$data/zoo.cfg" > "$data/log" 2>&1 < /dev/null &
  echo $! > "$data/pid"
}

stop() { end pid; }

choose() {
  case $1 in
    etcd | zookeeper) name=$1 ;;
    *) usage ;;
  esac
}

[ $# -ge 2 ] || usage
order=$1
shift
case $order in
  get) choose "$1"; [ $# -le 2 ] || usage; dir=${2:-$HOME/.cache/$name} ;;
  start) choose "$1"; [ $# -ge 3 ] && [ $# -le 4 ] || usage; data=$2 dir=${4:-$HOME/.cache/$name} ;;
  stop) [ $# -eq 1 ] || usage; data=$1 ;;
  *) usage ;;
esac
if [ -n "${dir:-}" ]; then dir=$(folder "$dir"); fi
if [ -n "${data:-}" ]; then data=$(folder "$data"); fi
case $order in
  get) get ;;
  start) start "$3" ;;
  stop) stop ;;
esac
