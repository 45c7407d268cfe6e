#!/usr/bin/env bash
# Tags a release: every released module at one commit, each with its folder's name, as the
# go command wants it (bus/v1.2.3, bus/redisbus/v1.2.3, ...), and v1.2.3 for the binary.
#
#   scripts/tag.sh VERSION             shows what it would do, and what is in the way
#   scripts/tag.sh VERSION --prepare   has the go.mod files name VERSION for each other
#   scripts/tag.sh VERSION --yes       tags; nothing is pushed
set -euo pipefail
# shellcheck source=scripts/workspace.sh
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

version=${1:-} action=${2:-}
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9a-z.]+)?$ ]] || fail "give a version such as v1.2.3, not \"$version\""
[[ -z $action || $action == --yes || $action == --prepare ]] || fail "\"$action\" is neither --prepare nor --yes"

# siblings FOLDER prints the modules of this repository that a module requires, with versions.
siblings() {
	awk -v path="$module_prefix/" '$1 == "require" { $0 = substr($0, 9) } index($1, path) == 1 && $2 != "=>" { print $1, $2 }' "$1/go.mod"
}

load_modules

if [[ $action == --prepare ]]; then
	for folder in "${all[@]}"; do
		while read -r module _; do
			GOWORK=off go -C "$folder" mod edit -require="$module@$version"
		done < <(siblings "$folder")
	done
	exit
fi

problems=()

tags=("$version")
for folder in "${released[@]}"; do
	tags+=("$folder/$version")
	while read -r module required; do
		[[ $required == "$version" ]] || problems+=("$folder/go.mod wants $module $required, not $version")
	done < <(siblings "$folder")
done
for tag in "${tags[@]}"; do
	! git rev-parse --quiet --verify "refs/tags/$tag" >/dev/null || problems+=("the tag $tag exists")
done
[[ -z $(git status --porcelain) ]] || problems+=('there are changes that are not committed')
grep -qF "## [${version#v}]" CHANGELOG.md || problems+=("CHANGELOG.md has no section [${version#v}]")

printf '%s\n' "${tags[@]}"
if ((${#problems[@]} > 0)); then
	printf '%s\n' "${problems[@]}" >&2
	fail "${#problems[@]} things are in the way of $version"
fi
if [[ -z $action ]]; then
	printf 'Nothing is in the way. "scripts/tag.sh %s --yes" tags this commit.\n' "$version"
	exit
fi
for tag in "${tags[@]}"; do
	git tag --annotate --message "$tag" "$tag"
done
printf 'Tagged. Push them with: git push origin %s\n' "${tags[*]}"
