#!/usr/bin/env bash
# Runs tests that need stores, alone.
#
#   scripts/stores.sh conformance memory|redis|postgres [VERSION...]
#                              the suite that every store passes; with versions of
#                              Postgres, which are fetched, once for each
#   scripts/stores.sh servers redis|postgres
#                              that the tests' own servers of that kind do what tests ask
#   scripts/stores.sh faults   every test of a fault (COUNT=20 repeats them)
#   scripts/stores.sh soak     random faults for DURATION (default 60s)
set -euo pipefail
# shellcheck source=scripts/workspace.sh
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

# run REGEXP FOLDER ARGUMENT... runs the tests of a folder that match. Go is content
# when there are none.
run() {
	local tests=$1 folder=$2 found
	shift 2
	found=$(go test -race -list "$tests" "$folder") || fail "$found"
	grep -q '^Test' <<<"$found" || fail "no test of $folder matches $tests"
	go test -race -count=1 -v -run "$tests" "$@" "$folder" | sed '/^=== /d'
}

conformance() { # STORE VERSION...
	local store=$1 version
	shift
	case $store in
	memory) run '^TestConformance$' ./bus/membus ;;
	redis) run '(?i)(conform.*redis|redis.*conform)' ./integration ;;
	postgres)
		(($#)) || set -- ''
		for version in "$@"; do
			[[ -z $version ]] || scripts/postgres.sh "$version"
			printf 'Postgres %s\n' "${version:-of the system}"
			MESSAGEBUS_TEST_POSTGRES_VERSION=$version run '(?i)(conform.*postgres|postgres.*conform)' ./integration
		done
		;;
	*) fail "there is no store \"$store\"; there are memory, redis and postgres" ;;
	esac
}

# What is left out does not depend on the version of a server.
servers() { # STORE
	case $1 in
	redis) run '^Test(Redis|Sentinel)' ./integration/stores -skip Socket ;;
	postgres) run '^TestPostgres' ./integration/stores -skip RunsEveryVersion ;;
	*) fail "there is no store \"$1\" with servers; there are redis and postgres" ;;
	esac
}

case ${1:-} in
conformance) conformance "${@:2}" ;;
servers) servers "${2:-}" ;;
faults) run 'Fault' ./integration -count="${COUNT:-1}" -timeout 0 ;;
soak) MESSAGEBUS_SOAK=${DURATION:-60s} run 'FaultHistory' ./integration -timeout 0 ;;
*) fail 'usage: scripts/stores.sh conformance STORE [VERSION...] | servers STORE | faults | soak' ;;
esac
