#!/usr/bin/env bash
# Runs the project's checks, one after another, and says how each one ended.
#
#   scripts/test.sh              all of them, as "make test" does
#   scripts/test.sh STEP...      only these
#   scripts/test.sh --list       what there is
#
# Every step is run even if one before it failed, so that one run shows all there
# is to mend. Nothing here asks git: the checks are the same in a copy of the tree.
#
# The steps are functions that are called by name:
# shellcheck disable=SC2317
set -euo pipefail
# shellcheck source=scripts/workspace.sh
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

# In the order in which they run: the quick ones first, the Go tests last, so that
# their result stands at the end.
readonly steps=(
	'workspace: modules.txt, go.work and every go.mod agree'
	'format: gofmt'
	'shell: shellcheck on every script, actionlint on every workflow'
	'build: every module alone (GOWORK=off), tidy, verified, on three systems'
	'deps: what released modules link is what was reviewed'
	'vet: go vet'
	'lint: golangci-lint, with the layer rules'
	'js: types, tests, size and dist/ of the browser client'
	'site: the documents as a site, with links that lead somewhere'
	'bench: every benchmark once, so that they keep working'
	'unit: tests of the released modules, with the race detector'
	'integration: tests of the other modules, with servers and a browser'
	'newest: the suite of the stores on the newest Postgres'
	'containers: the tests of the servers themselves, and the image, in Docker'
)

# --- the steps ---------------------------------------------------------------

patterns() { # FOLDER... prints ./folder/... for each
	printf './%s/...\n' "$@"
}

step_workspace() {
	local status=0 folder name version
	local on_disk listed used go_version
	complain() {
		printf '%s\n' "$*"
		status=1
	}

	on_disk=$(find . -name go.mod -not -path '*/node_modules/*' -not -path './.tools/*' -printf '%h\n' | sed 's|^\./||' | LC_ALL=C sort)
	listed=$(printf '%s\n' "${all[@]}" | LC_ALL=C sort)
	used=$(go list -m -f '{{.Dir}}' | sed "s|^$root/||" | LC_ALL=C sort)
	diff -u --label modules.txt --label 'go.mod files' <(printf '%s\n' "$listed") <(printf '%s\n' "$on_disk") || status=1
	diff -u --label modules.txt --label go.work <(printf '%s\n' "$listed") <(printf '%s\n' "$used") || status=1

	go_version=$(sed -n 's/^go //p' go.work)
	for folder in "${all[@]}"; do
		name=$(sed -n 's/^module //p' "$folder/go.mod")
		version=$(sed -n 's/^go //p' "$folder/go.mod")
		[[ $name == "$module_prefix/$folder" ]] || complain "$folder/go.mod: the module is called $name, not $module_prefix/$folder"
		[[ $version == "$go_version" ]] || complain "$folder/go.mod says go $version, go.work says go $go_version"
		grep -q '^toolchain' "$folder/go.mod" && complain "$folder/go.mod: a toolchain line would choose the user's Go"
	done
	printf '%d modules: %s\n' "${#all[@]}" "${all[*]}"
	return "$status"
}

step_format() {
	local files
	files=$(find "${all[@]}" -name node_modules -prune -o -name '*.go' -print0 | xargs -0 gofmt -s -l)
	[[ -z $files ]] && return
	printf 'not formatted; run "make fmt":\n%s\n' "$files"
	return 1
}

step_shell() {
	local scripts
	mapfile -t scripts < <(find scripts .ci "${all[@]}" -name node_modules -prune -o \( -name '*.sh' -o -path '.ci/run' \) -print)
	shellcheck --external-sources "${scripts[@]}"
	printf '%d scripts\n' "${#scripts[@]}"
	# It has shellcheck read the commands in them.
	go run "github.com/rhysd/actionlint/cmd/actionlint@$actionlint_version"
}

step_build() {
	local folder target
	for folder in "${all[@]}"; do
		printf '%s\n' "$folder"
		(
			cd "$folder"
			export GOWORK=off
			go mod verify
			go mod tidy -diff || fail "$folder: run \"go mod tidy\" there and commit the change"
			go build -o /dev/null ./... # a single command would be written into the tree
		)
	done
	for target in darwin/arm64 windows/amd64; do
		printf '%s, released modules\n' "$target"
		mapfile -t packages < <(patterns "${released[@]}")
		GOOS=${target%/*} GOARCH=${target#*/} CGO_ENABLED=0 go build "${packages[@]}"
	done
}

step_deps() { scripts/deps.sh check; }

step_vet() {
	mapfile -t packages < <(patterns "${all[@]}")
	go vet "${packages[@]}"
}

step_lint() {
	local folder linter status=0
	linter=$(golangci_folder)/golangci-lint
	"$linter" config verify || fail '.golangci.yml is not valid'
	for folder in "${all[@]}"; do
		printf '%s\n' "$folder"
		(cd "$folder" && "$linter" run --allow-parallel-runners ./...) || status=1
	done
	return "$status"
}

step_js() { scripts/js.sh check; }

step_site() { scripts/site.sh build; }

step_bench() {
	mapfile -t packages < <(patterns "${all[@]}")
	go test -run '^$' -bench . -benchtime 1x "${packages[@]}" | sed '/\[no test files\]$/d'
}

go_tests() { # FOLDER...
	mapfile -t packages < <(patterns "$@")
	go test -race -shuffle=on -timeout 15m "${packages[@]}"
}


step_unit() {
	go_tests "${released[@]}"
}

# What these tests talk to is not part of what Go's test cache knows. Faults,
# recordings and browsers depend on time: one package after the other.
step_integration() {
	if ((${#unreleased[@]} == 0)); then
		echo 'modules.txt lists no module that is not released'
		return 0
	fi
	local folder
	for folder in "${unreleased[@]}"; do
		[[ ! -f $folder/package-lock.json ]] || scripts/js.sh install "$folder"
	done
	# go test hides what a package prints that passes, and so what was not run there.
	local report status=0
	report=$(mktemp)
	GOFLAGS="$GOFLAGS -count=1 -p=1" MESSAGEBUS_TEST_REPORT=$report go_tests "${unreleased[@]}" || status=$?
	cat "$report"
	rm -f "$report"
	return "$status"
}

step_newest() {
	scripts/stores.sh conformance postgres "$(scripts/postgres.sh --newest)"
}

step_containers() {
	MESSAGEBUS_TEST_SERVERS=docker scripts/docker.sh go test -race -shuffle=on -count=1 -timeout 10m -tags docker \
		./integration/stores ./integration/packaging/image
}

# --- running them ------------------------------------------------------------

seconds_between() { # FROM TO, both as of EPOCHREALTIME
	LC_ALL=C awk -v from="${1/,/.}" -v to="${2/,/.}" 'BEGIN { printf "%.1f", to - from }'
}

load_modules

# One way, so that a run is the same on every machine: the servers are those that
# scripts/setup.sh has installed, but for the step that is about containers.
export MESSAGEBUS_TEST_SERVERS=${MESSAGEBUS_TEST_SERVERS:-local}

case ${1:-} in
--list)
	printf '%s\n' "${steps[@]}"
	exit
	;;
--inside) # this script again: one step in a process of its own, where "set -e" holds
	"step_$2"
	exit
	;;
esac

wanted=("$@")
for name in "${wanted[@]}"; do
	[[ $'\n'$(printf '%s\n' "${steps[@]%%:*}")$'\n' == *$'\n'"$name"$'\n'* ]] ||
		fail "there is no step \"$name\"; there are: ${steps[*]%%:*}"
done
((${#wanted[@]})) || wanted=("${steps[@]%%:*}")

summary=()
failed=()
begin=$EPOCHREALTIME
for step in "${steps[@]}"; do
	name=${step%%:*}
	[[ " ${wanted[*]} " == *" $name "* ]] || continue
	printf '\n%s== %s ==%s\n' "$bold" "$step" "$plain"
	from=$EPOCHREALTIME
	if with_heartbeat "$name" scripts/test.sh --inside "$name" 2>&1; then
		word=ok colour=$green
	else
		word=FAILED colour=$red
		failed+=("$name")
	fi
	took=$(seconds_between "$from" "$EPOCHREALTIME")
	summary+=("$(printf '%s%-6s%s %7s s  %s' "$colour" "$word" "$plain" "$took" "$step")")
	printf '%s%s: %s, %s s%s\n' "$colour" "$name" "$word" "$took" "$plain"
done

printf '\n%s== summary ==%s\n' "$bold" "$plain"
printf '%s\n' "${summary[@]}"
printf '%-6s %7s s\n' total "$(seconds_between "$begin" "$EPOCHREALTIME")"
((${#failed[@]})) || exit 0
printf '\n%sfailed:%s %s\n' "$red" "$plain" "${failed[*]}"
printf 'to run one of them alone: scripts/test.sh %s\n' "${failed[0]}"
exit 1
