# shellcheck shell=bash disable=SC2034 # what is unused here is used where this is sourced
# Settings and functions shared by `up`, `down` and `fill`.

# Where everything lives. The sockets are fixed; the rest can be moved.
home=${CONSORT_ENGINES_HOME:-/var/lib/consort-engines}
docker28_dir=${CONSORT_ENGINES_DOCKER28:-/opt/docker-modern}
podman_dir=/run/podman-service
run=$home/run

docker28_sock=$docker28_dir/run/docker.sock
docker20_sock=/var/run/docker.sock
podman_sock=$podman_dir/podman.sock
registry=127.0.0.1:5000         # open; the mirror of Docker Hub
private=127.0.0.1:5001          # asks for the name and password below
# Chosen so that their base64 has both `+` and `/`, which a client must encode right.
private_user='u+er'
private_password='?>~pa~~?>ss'

units=(registry private docker28 docker20 podman)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)

say() { printf 'engines: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# api SOCKET METHOD PATH: one request to an engine. It fails if the answer is not 2xx.
api() { curl -sSf --max-time "${api_timeout:-120}" --unix-socket "$1" -X "$2" "http://engine$3"; }

socket_of() { local name=$1_sock; echo "${!name}"; }

# Does the unit answer?
is_up() {
  case $1 in
    registry) curl -sf --max-time 2 -o /dev/null "http://$registry/v2/" ;;
    private) curl -sf --max-time 2 -o /dev/null -u "$private_user:$private_password" "http://$private/v2/" ;;
    *) api_timeout=5 api "$(socket_of "$1")" GET /_ping >/dev/null 2>&1 ;;
  esac
}

# The pid of a unit's own process, if it is alive. A pid file alone proves nothing: the number may be another's by now.
pid_of() {
  local file=$run/$1.pid pid
  pid=$(cat "$file" 2>/dev/null) && [ -n "$pid" ] || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$(mark_of "$1")" || return 1
  echo "$pid"
}

# What the command line of a unit's process, and of no other, contains.
mark_of() {
  case $1 in
    registry | private) echo "$run/$1.yml" ;;
    docker20 | docker28) echo "$run/$1.json" ;;
    podman) echo "unix://$podman_sock" ;;
  esac
}

exec_root_of() {
  case $1 in
    docker28) echo "$docker28_dir/run/exec" ;;
    docker20) echo /run/docker-debian ;;
  esac
}

data_of() {
  case $1 in
    docker28) echo "$docker28_dir/data" ;;
    *) echo "$home/$1" ;;
  esac
}

# Ends the processes whose ids are given: asks first, then insists.
end() {
  local pid
  for pid; do kill "$pid" 2>/dev/null || true; done
  for _ in $(seq 100); do
    local left=()
    for pid; do [ -d "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null && left+=("$pid"); done
    [ ${#left[@]} -eq 0 ] && return
    sleep 0.1
  done
  for pid in "${left[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
}

# The processes that an engine leaves behind when it is killed, and their children, the containers: the helpers of Docker
# name its exec root, the monitors of Podman its storage, its name server a directory below /run.
strays_of() {
  local names mark dir pid
  case $1 in
    docker*) names='dockerd|containerd|containerd-shim.*' mark=$(exec_root_of "$1") ;;
    podman) names='conmon|aardvark-dns' mark="$home/podman|/containers/networks" ;;
  esac
  for dir in /proc/[0-9]*; do
    [[ $(cat "$dir/comm" 2>/dev/null) =~ ^($names)$ ]] || continue
    grep -zqE -- "$mark" "$dir/cmdline" 2>/dev/null || continue
    pid=${dir#/proc/}
    echo "$pid"
    tr ' ' '\n' 2>/dev/null <"$dir/task/$pid/children"
  done | sort -u
}

# Ends an engine's strays without asking: there is nobody left to answer.
end_strays() {
  local pid
  for pid in $(strays_of "$1"); do kill -9 "$pid" 2>/dev/null || true; done
}

# Takes away all mounts at and below a directory.
unmount_below() {
  local place
  awk -v dir="$1/" 'index($5 "/", dir) == 1 {print $5}' /proc/self/mountinfo | sort -ru | while read -r place; do
    umount -l "$place" 2>/dev/null || true
  done
}

# Removes every container, network and volume of an engine; images stay.
empty() {
  local sock id name pids=()
  sock=$(socket_of "$1")
  local api_timeout=30
  for id in $(api "$sock" GET '/containers/json?all=true' | jq -r '.[].Id'); do
    api "$sock" DELETE "/containers/$id?force=true&v=true" >/dev/null 2>&1 &
    pids+=($!)
  done
  [ ${#pids[@]} -eq 0 ] || wait "${pids[@]}" || true
  for name in $(api "$sock" GET /networks | jq -r '.[] | select(.Name | IN("bridge", "host", "none", "podman") | not) | .Id'); do
    api "$sock" DELETE "/networks/$name" >/dev/null || return
  done
  for name in $(api "$sock" GET /volumes | jq -r '.Volumes // [] | .[].Name'); do
    api "$sock" DELETE "/volumes/$name?force=true" >/dev/null || return
  done
  [ "$(api "$sock" GET '/containers/json?all=true' | jq length)" = 0 ]
}
