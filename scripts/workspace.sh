# shellcheck shell=bash
# Sourced by the other scripts: the environment that every Go command runs in,
# the list of modules, and how progress is shown.
# What is set here is used there, which the checker cannot see:
# shellcheck disable=SC2034

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

readonly module_prefix=github.com/messagebus-go/messagebus
readonly golangci_version=v2.15.0
readonly actionlint_version=v1.7.12

# The Go that is installed is the Go that is tested; nothing is downloaded behind
# the caller's back. A version stamp would make the build ask git, which refuses a
# checkout that belongs to another user.
export GOTOOLCHAIN=local
export GOWORK=$root/go.work
case " ${GOFLAGS:-} " in
*" -buildvcs=false "*) ;;
*) export GOFLAGS="${GOFLAGS:+$GOFLAGS }-buildvcs=false" ;;
esac

# Go and npm keep their caches below HOME; some build machines have none.
if [[ ! -d ${HOME:-} || ! -w ${HOME:-} ]]; then
	export HOME=$root/.tools/home
	mkdir -p "$HOME"
fi

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
	bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' dim=$'\e[2m' plain=$'\e[0m'
else
	bold='' red='' green='' dim='' plain=''
fi

fail() {
	printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2
	exit 1
}

# load_modules reads modules.txt into three arrays of folders. A folder that holds no
# module ends the script.
all=() released=() unreleased=()
load_modules() {
	local folder word
	while read -r folder word _; do
		[[ -z $folder || $folder == \#* ]] && continue
		[[ -f $folder/go.mod ]] || fail "modules.txt lists \"$folder\", but there is no $folder/go.mod"
		all+=("$folder")
		case $word in
		yes) released+=("$folder") ;;
		no) unreleased+=("$folder") ;;
		*) fail "modules.txt: \"$folder\" needs a second word, yes or no (released)" ;;
		esac
	done <modules.txt
	((${#released[@]})) || fail 'modules.txt lists no released module'
}

# golangci_folder prints where the linter is kept. It can only read code of a Go
# release that is no newer than the one that built it, hence both in the name.
golangci_folder() {
	printf '%s/.tools/golangci-lint-%s-%s' "$root" "$golangci_version" "$(go env GOVERSION)"
}

# with_heartbeat WHAT COMMAND... runs the command, and says twice a minute that it
# still runs.
with_heartbeat() {
	local what=$1 parent=$$ pulse status=0
	shift
	(
		# A child of its own, so that ending the pulse ends the wait as well.
		waited=0
		trap 'kill "${nap:-}" 2>/dev/null; exit 0' TERM
		while kill -0 "$parent" 2>/dev/null; do
			sleep 30 &
			nap=$!
			wait "$nap"
			waited=$((waited + 30))
			printf '%s... %s: still running after %d s%s\n' "$dim" "$what" "$waited" "$plain"
		done
	) &
	pulse=$!
	"$@" || status=$?
	kill "$pulse" 2>/dev/null || true
	wait "$pulse" 2>/dev/null || true
	return "$status"
}
