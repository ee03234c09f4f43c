# What the scripts have in common that bring a server onto this machine to measure against: sourced by them.
#
# A script says in its head how it is called; `dir` is where the server is, and `data` is the folder of one that runs.

usage() {
  sed -n '2,/^set /{/^#/!d;s/^# \{0,1\}//p}' "$0" >&2
  exit 2
}

fail() {
  echo "$(basename "$0"): $1" >&2
  exit 1
}

# Runs apt-get with Debian's development release as its only source, and with nothing installed, so that all that is needed
# comes. Words that follow are its own.
development_apt() {
  local uri
  uri=$(apt-get indextargets --format '$(REPO_URI)' 2> /dev/null | grep -m1 '/debian/*$' || true)
  [ -n "$uri" ] || fail "apt has no main Debian source (run apt-get update first)"
  mkdir -p "$dir"/{apt/lists,debs}/partial
  echo "deb $uri sid main" > "$dir/apt/sources.list"
  : > "$dir/apt/status"
  local options=(-oDir::Etc::SourceList="$dir/apt/sources.list" -oDir::Etc::SourceParts=/dev/null
    -oDir::State::Lists="$dir/apt/lists" -oDir::State::Status="$dir/apt/status" -oDir::Cache="$dir/apt"
    -oDir::Cache::Archives="$dir/debs" -oAPT::Sandbox::User="$(id -un)" -oDebug::NoLocking=1)
  apt-get "${options[@]}" -qq update
  apt-get "${options[@]}" -qq "$@"
}

# Unpacks what was downloaded.
unpack() {
  local package
  for package in "$dir"/debs/*.deb; do
    dpkg-deb -x "$package" "$dir/root"
    rm "$package"
  done
}

listens() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

# Waits until the server whose process is in DATA/pid does what the words that follow say; ends it if it does not within a minute.
await() {
  local name=$1
  shift
  for _ in $(seq 600); do
    if ! kill -0 "$(cat "$data/pid")" 2> /dev/null; then break; fi
    if "$@"; then return; fi
    sleep 0.1
  done
  tail -n 40 "$data/log" >&2
  stop
  fail "$name does not come up"
}

# Ends the process that a file in DATA names, and waits until it has ended.
end() {
  if [ ! -e "$data/$1" ]; then return; fi
  local pid
  pid=$(cat "$data/$1")
  kill "$pid" 2> /dev/null || true
  for _ in $(seq 300); do
    if ! kill -0 "$pid" 2> /dev/null; then break; fi
    sleep 0.1
  done
  kill -KILL "$pid" 2> /dev/null || true
  rm -f "$data/$1"
}

# A folder by its whole name, made when missing.
folder() { mkdir -p "$1" && (cd "$1" && pwd); }
