#!/usr/bin/env bash
# The documents as a site, by VitePress.
#
#   scripts/site.sh build   build it into site/dist; a link that leads nowhere is an error
#   scripts/site.sh serve   the same, and show it on http://127.0.0.1:4173
set -euo pipefail
# shellcheck source=scripts/workspace.sh
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

case ${1:-} in
build | serve)
	scripts/js.sh install site
	cd site
	npm run build
	echo 'the site is in site/dist'
	[[ $1 == build ]] || npm run serve
	;;
*) fail 'usage: scripts/site.sh build|serve' ;;
esac
