#!/usr/bin/env bash
# Installs what the project's commands need and this machine does not have.
#
#   scripts/setup.sh [go | race | js | lint | servers | ruby | quickstart | guide | test]...     (default: test)
#
#   go        to build and to run the demo: Go
#   race      to run the Go tests with the race detector: Go and a C compiler
#   js        to rebuild the browser client and the site: Node and npm
#   lint      to check the code: Go, shellcheck, golangci-lint
#   servers   to test the stores: Redis, Postgres and PgBouncer
#   quickstart  to run docs/getting-started.md: Go, make, Python, nginx and a browser
#   ruby      to let Go and Ruby processes meet: Go, Node, Ruby, servers, nginx and a
#             browser; the gem message_bus as for the guide
#   guide     to run docs/from-ruby.md: Go, Ruby, Redis, nginx and a browser; the gem
#             message_bus itself is the user's to install, or to name in MESSAGE_BUS_LIB
#   test      all of it, a browser, proxies, Docker and the newest Postgres
#
# Debian starts a server when it installs one. The tests use none of those: they start
# their own, and need the programs alone.
#
# On Debian and Ubuntu missing packages come from apt, as root or through sudo, and
# nothing is ever asked. Elsewhere the script says what is missing and stops.
set -euo pipefail
# shellcheck source=scripts/workspace.sh
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

readonly min_go=26 min_node=20

packages=() # what apt has to install
reasons=()  # what is missing and why it is needed, one line each
manual=()   # what only the user can install

missing() { # WHAT WHY PACKAGE...
	reasons+=("$1: $2")
	packages+=("${@:3}")
}

have() { command -v "$1" >/dev/null 2>&1; }

need_go() {
	local version
	if ! have go; then
		manual+=("Go 1.$min_go or newer: https://go.dev/dl/")
		return
	fi
	version=$(go env GOVERSION)
	[[ $version =~ ^go1\.([0-9]+) && ${BASH_REMATCH[1]} -ge $min_go ]] ||
		manual+=("Go 1.$min_go or newer (here: $version): https://go.dev/dl/")
}

need_node() {
	local candidate
	if have node && have npm; then
		[[ $(node --version) =~ ^v([0-9]+) && ${BASH_REMATCH[1]} -ge $min_node ]] ||
			manual+=("Node $min_node or newer (here: $(node --version)): https://nodejs.org/en/download")
		return
	fi
	# Debian 12 and Ubuntu 24.04 carry an older Node than the tests need.
	candidate=$(apt-cache policy nodejs 2>/dev/null | sed -n 's/^ *Candidate: //p' || true)
	if ! have node && [[ $candidate =~ ^([0-9]+:)?([0-9]+)\. && ${BASH_REMATCH[2]} -ge $min_node ]]; then
		missing "node" "builds and tests the browser client" nodejs npm
	elif have node; then
		missing "npm" "installs the browser client's build tools" npm
	else
		manual+=("Node $min_node or newer with npm: https://nodejs.org/en/download")
	fi
}

need_compiler() {
	have gcc && printf '#include <stdlib.h>\n' | gcc -fsyntax-only -xc - 2>/dev/null && return
	missing "gcc" "the race detector needs a C compiler" gcc libc6-dev
}

need_browser() {
	local name
	for name in chromium chromium-browser google-chrome google-chrome-stable; do
		have "$name" && return
	done
	# Ubuntu's package of that name only starts a snap, which has no access to the
	# folders that a test hands to its browser.
	if grep -qs '^ID=ubuntu' /etc/os-release; then
		manual+=("Chrome, for the browser tests (Ubuntu packages no Chromium): https://www.google.com/chrome/")
	else
		missing "chromium" "the browser tests drive a real one" chromium fonts-liberation
	fi
}

need_servers() {
	have redis-server || missing "redis-server" "the tests start Redis servers" redis-server
	have postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ||
		missing "postgres" "the tests start Postgres servers" postgresql
	have pgbouncer || [[ -x /usr/sbin/pgbouncer ]] ||
		missing "pgbouncer" "the tests put one in front of Postgres" pgbouncer
}

need_proxies() { # COMMAND...
	local name
	for name in "$@"; do
		have "$name" || [[ -x /usr/sbin/$name ]] ||
			missing "$name" "the documented settings of proxies are tested" "$name"
	done
}

need_ruby() {
	ruby -e 'require "rack"; require "redis"; require "pg"; require "puma"; require "rack/session/cookie"' 2>/dev/null ||
		missing "ruby" "the gem's own processes run in it" ruby ruby-rack ruby-redis ruby-pg puma
}

# A Docker that answers is enough. As root, scripts/docker.sh starts one where none
# does, and makes its images from packages.
need_docker() {
	local debian
	docker version >/dev/null 2>&1 && return
	if ((EUID != 0)); then
		manual+=("Docker that answers, for the tests in containers: https://docs.docker.com/engine/install/")
		return
	fi
	have dockerd || missing "dockerd" "the tests start servers in containers" docker.io
	if ! have docker; then
		debian=$(sed -n 's/^VERSION_ID="\([0-9]*\)"$/\1/p' /etc/os-release 2>/dev/null || true)
		# Up to Debian 12 it is part of docker.io.
		((${debian:-0} < 13)) || missing "docker" "the tests start servers in containers" docker-cli
	fi
	[[ -x /bin/busybox ]] || missing "busybox" "is the shell of the test images" busybox-static
	mountpoint -q /sys/fs/cgroup || have cgroupfs-mount ||
		missing "cgroupfs-mount" "Docker needs the kernel's control groups" cgroupfs-mount
}

need_tool() { # COMMAND WHY
	have "$1" || missing "$1" "$2" "$1"
}

# golangci-lint advises its ready-made binaries; building it asks for nothing but
# the Go module proxy, which the build of this project needs anyway.
install_golangci() {
	local folder part
	folder=$(golangci_folder)
	[[ -x $folder/golangci-lint ]] && return
	printf 'Building golangci-lint %s into %s (once; about 3 minutes on 2 cores)\n' \
		"$golangci_version" "${folder#"$root"/}"
	part=$folder.part
	mkdir -p "$part"
	GOBIN=$part GOWORK=off with_heartbeat 'building golangci-lint' \
		go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$golangci_version" ||
		fail "golangci-lint $golangci_version could not be built"
	mv -T "$part" "$folder"
}

say_missing() {
	printf '%s\n' "Missing on this machine:" >&2
	printf '  %s\n' "$@" >&2
}

install_packages() {
	((${#packages[@]})) || return 0
	local as_root=()
	if ! have apt-get; then
		say_missing "${reasons[@]}"
		fail "install these with this system's package manager, then run the command again"
	fi
	if ((EUID != 0)); then
		as_root=(sudo -n)
		if ! have sudo || ! sudo -n true 2>/dev/null; then
			say_missing "${reasons[@]}"
			fail "run this as root, then the command again: apt-get install -y --no-install-recommends ${packages[*]}"
		fi
	fi
	printf 'Installing with apt: %s\n' "${packages[*]}"
	printf '  %s\n' "${reasons[@]}"
	local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq)
	"${apt[@]}" update </dev/null || echo 'apt-get update failed; trying with the lists that are here' >&2
	with_heartbeat 'installing packages' \
		"${apt[@]}" install -y --no-install-recommends "${packages[@]}" </dev/null ||
		fail "apt could not install: ${packages[*]}"
}

(($#)) || set -- test
lint='' newest_postgres=''
for subset in "$@"; do
	case $subset in
	go) need_go ;;
	race)
		need_go
		need_compiler
		;;
	js) need_node ;;
	lint)
		need_go
		need_tool shellcheck "checks the shell scripts"
		lint=yes
		;;
	test)
		need_go
		need_node
		need_compiler
		need_browser
		need_servers
		need_proxies nginx haproxy caddy
		need_docker
		need_tool make "runs the project's commands"
		need_tool curl "the README's commands are run as printed"
		need_tool python3 "the application of the first page is written in it"
		need_tool shellcheck "checks the shell scripts"
		have promtool || missing "promtool" "checks the rules for alerts and the metrics" prometheus
		lint=yes newest_postgres=yes
		;;
	servers) need_servers ;;
	quickstart)
		need_go
		need_proxies nginx
		need_tool make "builds the command"
		need_tool curl "the page's commands are run as printed"
		need_tool python3 "the page's application is written in it"
		need_browser
		;;
	ruby)
		need_go
		need_node
		need_browser
		need_servers
		need_proxies nginx
		need_ruby
		;;
	guide)
		need_go
		need_ruby
		need_tool redis-server "Ruby and Go share one"
		need_proxies nginx
		need_tool curl "the guide's commands are run as printed"
		need_browser
		;;
	*) fail "scripts/setup.sh: unknown subset \"$subset\"; it takes go, race, js, lint, servers, ruby, quickstart, guide and test" ;;
	esac
done

if ((${#manual[@]})); then
	say_missing "${manual[@]}" "${reasons[@]}"
	fail 'what has an address has to be installed by hand; then run the command again'
fi
install_packages
[[ -z $lint ]] || install_golangci
# There are builds for this alone; elsewhere the step that needs one says so.
[[ -z $newest_postgres || $(uname -sm) != 'Linux x86_64' ]] || scripts/postgres.sh "$(scripts/postgres.sh --newest)"
