#!/usr/bin/env bash
# The browser client, through the scripts of jsclient/package.json.
#
#   scripts/js.sh install FOLDER
#                           put the npm packages of a folder where they belong
#   scripts/js.sh build     rebuild jsclient/dist
#   scripts/js.sh check     types, tests, size, the package, and that dist/ is what the
#                           sources give
set -euo pipefail
# shellcheck source=scripts/workspace.sh
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

# npm ci deletes and downloads everything, so only when the lock file has changed.
install() { # FOLDER
	[[ -f $1/package-lock.json ]] || fail "there is no $1/package-lock.json"
	cd "$1"
	cmp -s package-lock.json node_modules/.installed-lock && return 0
	npm ci --no-audit --no-fund
	cp package-lock.json node_modules/.installed-lock
}

case ${1:-} in
install) install "${2:?which folder?}" ;;
build)
	install jsclient
	npm run build
	;;
check)
	install jsclient
	npm run check
	npm test
	# Built in a copy, so that the check changes nothing here.
	copy=$(mktemp -d)
	trap 'rm -rf "$copy"' EXIT
	find . -mindepth 1 -maxdepth 1 ! -name node_modules ! -name dist -exec cp -r {} "$copy" \;
	ln -s "$PWD/node_modules" "$copy/node_modules"
	(cd "$copy" && npm run build)
	diff -rq dist "$copy/dist" || fail 'jsclient/dist is not what the sources give: run "make js" and commit it'
	echo 'dist/ is what the sources give'
	npm run size
	npm run package
	;;
*) fail 'usage: scripts/js.sh install FOLDER|build|check' ;;
esac
