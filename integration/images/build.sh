#!/usr/bin/env bash
# Makes images of Redis and Postgres from the packages that this Debian or Ubuntu has
# installed (redis-server, postgresql, busybox-static), for machines that reach no
# image registry. Needs root and a Docker that answers.
#
#   integration/images/build.sh    make them, and print the variables that name them
#
# They hold the programs and a shell, not what the official images do at their start:
# the tests bring that along.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# base ROOT USER makes a root folder with a shell and one user.
base() {
	local root=$1
	mkdir -p "$root"/{bin,etc,proc,sys,dev,usr/lib/locale}
	cp /bin/busybox "$root/bin/"
	chroot "$root" /bin/busybox --install -s /bin
	printf 'root:x:0:0::/:/bin/sh\n%s:x:999:999::/tmp:/bin/sh\n' "$2" >"$root/etc/passwd"
	printf 'root:x:0:\n%s:x:999:\n' "$2" >"$root/etc/group"
	mkdir -m 1777 "$root/tmp"
}

# put ROOT FILE... copies files and the shared libraries that they need.
put() {
	local root=$1 file
	shift
	# What is no ELF file has none.
	for file in "$@" $(ldd "$@" 2>/dev/null | grep -oE '/[^ :]+' | sort -u); do
		[[ -e $root$file ]] && continue
		mkdir -p "$root$(dirname "$file")"
		cp -L --preserve=mode "$file" "$root$file"
	done
}

import() { # ROOT TAG PATH
	tar -C "$1" -c . | docker import -c "ENV PATH=$3" -c 'WORKDIR /tmp' - "$2" >/dev/null
}

redis_image() {
	local root=$work/redis
	base "$root" redis
	put "$root" "$(command -v redis-server)" "$(command -v redis-cli)"
	import "$root" messagebus-test/redis /usr/bin:/bin
	echo 'export MESSAGEBUS_TEST_REDIS_IMAGE=messagebus-test/redis'
}

postgres_image() {
	local root=$work/postgres folder version modules
	folder=$(printf '%s\n' /usr/lib/postgresql/*/ | sort -V | tail -n 1)
	folder=${folder%/}
	version=${folder##*/}
	base "$root" postgres
	# Without the modules for other languages and the compiler, which are large.
	mapfile -t modules < <(find "$folder/lib" -maxdepth 1 -name '*.so' ! -name 'llvmjit*' ! -name '*perl*' ! -name '*python*' ! -name '*tcl*')
	put "$root" "$folder"/bin/{postgres,initdb,pg_basebackup,psql} "${modules[@]}"
	tar -C / -c --exclude=man "usr/share/postgresql/$version" usr/share/zoneinfo | tar -C "$root" -x
	import "$root" "messagebus-test/postgres:$version" "$folder/bin:/usr/bin:/bin"
	echo "export MESSAGEBUS_TEST_POSTGRES_IMAGE=messagebus-test/postgres:$version"
}

((EUID == 0)) || fail 'images/build.sh has to be run as root'
if [[ ! -x /bin/busybox ]] || ! command -v redis-server >/dev/null || ! compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then
	fail 'the images are made from packages: apt-get install redis-server postgresql busybox-static'
fi
redis_image
postgres_image
