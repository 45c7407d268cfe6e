#!/usr/bin/env bash
# Runs a command with a Docker for the tests' servers.
#
#   scripts/docker.sh COMMAND...
#
# A Docker that answers is used as it is, and its images are pulled. Otherwise, as
# root, a daemon is started for the time of the command: it has folders of its own and
# touches no network settings, since the tests' containers use the machine's network.
# It cannot pull, so the images are made from the machine's packages.
set -euo pipefail
# shellcheck source=scripts/workspace.sh
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

# The helper that removes what a killed test has left would be one more image to
# pull; what carries the tests' label is removed here instead.
export TESTCONTAINERS_RYUK_DISABLED=true

remove_containers() {
	docker ps -aq --filter label=messagebus.test | xargs -r docker rm -fv >/dev/null
}

daemon='' folder=''
stop_daemon() {
	[[ -n $daemon ]] && kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null
	# Where a container was killed with the daemon, its mount is left.
	grep -o " $folder/[^ ]*" /proc/mounts | sort -r | xargs -r umount -l
	rm -rf "$folder"
}

start_daemon() {
	folder=$(mktemp -d)
	trap stop_daemon EXIT
	trap 'exit 1' INT TERM
	# Old kernels' interface has to be mounted; a container of a build machine often
	# comes without.
	mountpoint -q /sys/fs/cgroup || cgroupfs-mount
	export DOCKER_HOST=unix://$folder/docker.sock
	dockerd --host "$DOCKER_HOST" --pidfile "$folder/pid" --exec-root "$folder/run" --data-root "$folder/data" \
		--bridge none --iptables=false --ip6tables=false --log-level warn >"$folder/log" 2>&1 </dev/null &
	daemon=$!
	for _ in {1..100}; do
		docker version >/dev/null 2>&1 && return
		kill -0 "$daemon" 2>/dev/null || break
		sleep 0.2
	done
	tail -n 20 "$folder/log" >&2
	fail 'the Docker daemon that was started for the tests does not answer; the end of its log is above'
}

command -v docker >/dev/null || fail 'there is no docker command: scripts/setup.sh test installs it as root; see "Servers for the tests" in CONTRIBUTING.md'
if docker version >/dev/null 2>&1; then
	trap remove_containers EXIT
	"$@"
	exit
fi
if ((EUID != 0)) || ! command -v dockerd >/dev/null; then
	fail 'Docker does not answer. Start it, or run this as root with dockerd installed, which starts one for the time of the tests'
fi
start_daemon
variables=$(integration/images/build.sh)
eval "$variables"
"$@"
