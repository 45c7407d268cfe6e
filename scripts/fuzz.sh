#!/usr/bin/env bash
# Runs every fuzz test, one after the other.
#
#   scripts/fuzz.sh [TIME]     each for so long (default 30s)
#
# What a fuzzer finds is left in the testdata of its package, which is printed, and the
# others are run all the same.
set -euo pipefail
# shellcheck source=scripts/workspace.sh
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

readonly time=${1:-30s}
[[ $time =~ ^[0-9]+(s|m|h)$ ]] || fail "\"$time\" is no time such as 30s or 5m"

load_modules
printf 'Looking for fuzz tests\n'
patterns=("${all[@]/#/./}")
listed=$(go test -list '^Fuzz' "${patterns[@]/%//...}") || fail "$listed"
# A package's tests are listed above the line that names it.
mapfile -t tests < <(awk '/^Fuzz/ { names[++n] = $1 } $1 == "ok" { for (i = 1; i <= n; i++) print $2, names[i]; n = 0 }' <<<"$listed")
((${#tests[@]})) || fail 'no module has a fuzz test'

failed=()
for test in "${tests[@]}"; do
	read -r package name <<<"$test"
	printf '\n%s== %s of %s, %s ==%s\n' "$bold" "$name" "${package#"$module_prefix"/}" "$time" "$plain"
	go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "$package" || failed+=("$test")
done
printf '\n%d fuzz tests, %d failed\n' "${#tests[@]}" "${#failed[@]}"
((${#failed[@]})) || exit 0
printf '  %s\n' "${failed[@]}"
exit 1
