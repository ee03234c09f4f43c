#!/usr/bin/env bash
# Brings the newest RabbitMQ that Debian carries onto this machine, to measure against, without touching the installed
# system, and starts and stops it. Packages, with the Erlang and the C library that they were built for, come through the
# sources that this machine's apt has, from the distribution's development release; they are unpacked into a folder.
#
#   rabbitmq.sh get [DIR]                     unpacks it, if it is not there; prints the version
#   rabbitmq.sh start DATA PORT [DIR]         starts a node that has its data in DATA and takes AMQP 0-9-1 on 127.0.0.1:PORT
#   rabbitmq.sh stop DATA                     ends it and waits until it has ended
#
# DIR     default: ~/.cache/rabbitmq
# DATA    a folder of its own for each node; made when missing, left there by `stop`. DATA/pid is the process, DATA/log what
#         it says, and DATA/extra.conf, where there is one, is added to its configuration
#
# PORT + 1 and PORT + 2 are used too, on 127.0.0.1 like PORT: for Erlang's distribution and its port mapper. Users: guest
# with the password guest, from this machine alone. The node has its defaults, but for addresses and the level of its log.
set -euo pipefail

source "$(dirname "$0")/servers.sh"

# Unpacks the packages, and puts a wrapper in the place of each of Erlang's programs that starts it with the library it needs.
get() {
  if [ ! -e "$dir/ready" ]; then
    rm -rf "$dir/root" "$dir/bin" "$dir/debs"
    mkdir -p "$dir"/{root,bin}
    development_apt --yes --no-install-recommends --download-only install rabbitmq-server
    unpack
    wrap_programs
    touch "$dir/ready"
    rm -rf "$dir/debs" "$dir/apt"
  fi
  basename "$(echo "$dir"/root/usr/lib/rabbitmq/lib/rabbitmq_server-*)" | tr _ ' ' | sed 's/ server-/ /'
}

wrap_programs() {
  local libraries loader erts program
  libraries=$dir/root/usr/lib/$(uname -m)-linux-gnu
  loader=$(ls "$libraries"/ld-linux-* | head -1)
  erts=$(echo "$dir"/root/usr/lib/erlang/erts-*)
  for program in "$erts"/bin/{beam.smp,erlexec,erl_child_setup,inet_gethost,epmd} "$dir"/root/usr/lib/erlang/lib/os_mon-*/priv/bin/{cpu_sup,memsup}; do
    mv "$program" "$program.wrapped"
    printf '#!/bin/sh\nexec "%s" --library-path "%s" --argv0 "%s" "%s" "$@"\n' "$loader" "$libraries" "$program" "$program.wrapped" > "$program"
    chmod +x "$program"
  done
  # What the package's own `erl` does, for the folder where it is now.
  printf '#!/bin/sh\nexport ROOTDIR="%s" BINDIR="%s" EMU=beam PROGNAME=erl\nexec "$BINDIR/erlexec" "$@"\n' \
    "$dir/root/usr/lib/erlang" "$erts/bin" > "$dir/bin/erl"
  chmod +x "$dir/bin/erl"
}

start() {
  local port=$1 waited
  [ -e "$dir/ready" ] || get > /dev/null
  for waited in "$port" $((port + 1)) $((port + 2)); do
    if listens "$waited"; then fail "port $waited is taken"; fi
  done
  mkdir -p "$data/etc/rabbitmq" "$data/var/log/rabbitmq" "$data/var/lib/rabbitmq"
  {
    printf 'listeners.tcp.local = 127.0.0.1:%s\n' "$port"
    printf 'distribution.listener.interface = 127.0.0.1\ndistribution.listener.port_range.min = %s\ndistribution.listener.port_range.max = %s\n' $((port + 1)) $((port + 1))
    printf 'log.console = true\nlog.console.level = warning\nlog.file = false\n'
    if [ -e "$data/extra.conf" ]; then cat "$data/extra.conf"; fi
  } > "$data/etc/rabbitmq/rabbitmq.conf"
  # All its paths are below this folder.
  printf 'SYS_PREFIX="%s"\n' "$data" > "$data/environment"
  export RABBITMQ_CONF_ENV_FILE=$data/environment RABBITMQ_NODENAME=measured-$port@localhost HOME=$data
  export ERL_EPMD_PORT=$((port + 2)) ERL_EPMD_ADDRESS=127.0.0.1 LC_ALL=C.UTF-8
  # It becomes the process of the virtual machine, without a shell that waits for it.
  export RUNNING_UNDER_SYSTEMD=true
  unset NOTIFY_SOCKET
  PATH=$dir/bin:$PATH
  # A mapper of its own, started before, so that none stays behind as a daemon. (Both stay in this session: a scheduler that divides
  # time among sessions gives the broker and its load what it gives to one.)
  "$(echo "$dir"/root/usr/lib/erlang/erts-*)/bin/epmd" > /dev/null 2>&1 < /dev/null &
  echo $! > "$data/mapper"
  waited=0
  until listens "$ERL_EPMD_PORT"; do
    waited=$((waited + 1))
    if [ "$waited" -gt 100 ]; then fail "Erlang's port mapper does not come up"; fi
    sleep 0.05
  done
  "$(echo "$dir"/root/usr/lib/rabbitmq/lib/rabbitmq_server-*)/sbin/rabbitmq-server" > "$data/log" 2>&1 < /dev/null &
  echo $! > "$data/pid"
  await RabbitMQ listens "$port"
}

stop() {
  end pid
  end mapper
}

[ $# -ge 1 ] || usage
order=$1
shift
case $order in
  get) [ $# -le 1 ] || usage; dir=${1:-$HOME/.cache/rabbitmq} ;;
  start) [ $# -ge 2 ] && [ $# -le 3 ] || usage; data=$1 dir=${3:-$HOME/.cache/rabbitmq} ;;
  stop) [ $# -eq 1 ] || usage; data=$1 ;;
  *) usage ;;
esac
if [ -n "${dir:-}" ]; then dir=$(folder "$dir"); fi
if [ -n "${data:-}" ]; then data=$(folder "$data"); fi
case $order in
  get) get ;;
  start) start "$2" ;;
  stop) stop ;;
esac
