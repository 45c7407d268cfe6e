#!/usr/bin/env bash
# The packages that a released module links into a user's program, standard library
# left out, are a reviewed file: scripts/deps/<folder>.txt, "/" written as "-".
#
#   scripts/deps.sh check     compare the files with the code
#   scripts/deps.sh write     bring the files up to date
#
# Tests do not count. The list is that of linux/amd64, so that it is the same on
# every machine.
set -euo pipefail
# shellcheck source=scripts/workspace.sh
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

list() { # FOLDER
	(cd "$1" && GOWORK=off GOOS=linux GOARCH=amd64 CGO_ENABLED=0 \
		go list -deps -f '{{if not .Standard}}{{.ImportPath}}{{end}}' ./... | LC_ALL=C sort -u)
}

file_of() { printf 'scripts/deps/%s.txt' "${1//\//-}"; }

load_modules
status=0
files=()
case ${1:-} in
check)
	for folder in "${released[@]}"; do
		file=$(file_of "$folder")
		files+=("$file")
		packages=$(list "$folder")
		if diff -u --label "$file" --label "what $folder links now" "$file" <(printf '%s\n' "$packages"); then
			printf '%-20s %4d packages, %d of other projects\n' "$folder" "$(wc -l <<<"$packages")" \
				"$(grep -cv "^$module_prefix/" <<<"$packages" || true)"
		else
			status=1
		fi
	done
	for file in scripts/deps/*.txt; do
		[[ " ${files[*]} " == *" $file "* ]] && continue
		printf '%s: no released module of modules.txt has this list\n' "$file"
		status=1
	done
	((status == 0)) || fail 'the dependency lists differ from the code; if the change is meant, run "make deps" and commit them'
	;;
write)
	mkdir -p scripts/deps
	for folder in "${released[@]}"; do
		file=$(file_of "$folder")
		packages=$(list "$folder")
		printf '%s\n' "$packages" >"$file"
		printf 'wrote %s\n' "$file"
	done
	;;
*) fail "usage: scripts/deps.sh check|write" ;;
esac
