# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Common ground of the scripts: where things are, how messages look, how a
# step is timed, how a finished directory appears all at once. Sourced.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export HOME=${HOME:-/root}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/diofs
FLAVOUR=${FLAVOUR:-cloud-amd64}
KERNEL=${KERNEL:-stock}
RUNNER=${RUNNER:-qemu}
OUT=$REPO/out
SUITE=trixie
export CACHE FLAVOUR KERNEL RUNNER OUT SUITE

# What every bound of time in the guest is multiplied by, and the guest's memory: a
# kernel that checks itself takes more of both. Not exported, as they follow KERNEL.
# shellcheck disable=SC2034 # others use them
case $KERNEL in
stock) patience=${PATIENCE:-1} mem=${MEM:-2G} ;;
*) patience=${PATIENCE:-5} mem=${MEM:-3G} ;;
esac

say() { printf '%s\n' "$*" >&2; }
# die MESSAGE...: its status is 1, or what the script has set
die_status=1
die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit $die_status
}

# Neither the kernel's command line nor its build can do with them, nor QEMU with a comma
case $REPO$CACHE in
*[[:space:],:]*) die "the paths must have no blanks, commas or colons in them: '$REPO', '$CACHE'" ;;
esac

# packages: the packages of the tree, without comments
packages() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$REPO/scripts/packages.txt"; }

# tree_dir: the directory of the tree that belongs to today's package list
tree_dir() {
	local key
	key=$({ echo "$SUITE"; packages; } | sha256sum | cut -c1-12)
	echo "$CACHE/tree-$SUITE-$key"
}

# virtme_dir: the virtme-ng that virtme-ng.txt asks for
virtme_dir() { echo "$CACHE/virtme-ng-$(sha256sum <"$REPO/scripts/virtme-ng.txt" | cut -c1-12)"; }

# kernel_dir: the directory of the kernel in use, which set-up names in a file.
# Whatever KERNEL is, it holds build/ (a KDIR), vmlinuz and usr/lib/modules/.
kernel_dir() {
	local state=$CACHE/newest-$FLAVOUR
	[ "$KERNEL" = stock ] || state=$CACHE/newest-$KERNEL
	[ -s "$state" ] || die "no kernel prepared yet: run 'make setup KERNEL=$KERNEL FLAVOUR=$FLAVOUR'"
	echo "$CACHE/kernel-$(cat "$state")"
}

# step TITLE COMMAND...: run it with its output in a log; say how long it took,
# and on failure show the end of the log and where the rest is.
step() {
	local title=$1 log start=$SECONDS status=0
	shift
	mkdir -p "$CACHE/logs"
	log=$CACHE/logs/$(echo "$title" | tr -cs 'a-zA-Z0-9.+\n' -).log
	printf '  %-58s' "$title" >&2
	"$@" >"$log" 2>&1 </dev/null || status=$?
	if [ $status = 0 ]; then
		printf '%4d s\n' $((SECONDS - start)) >&2
	else
		printf ' failed after %d s\n' $((SECONDS - start)) >&2
		tail -n 20 "$log" | sed 's/^/    | /' >&2
		say "    see more: less $log"
	fi
	return $status
}

# only_one LOCK: wait until no other set-up works on the cache
only_one() {
	mkdir -p "$CACHE"
	exec 9>"$CACHE/$1"
	flock -n 9 || {
		say "  another set-up is at work on $CACHE: waiting for it"
		flock 9
	}
}

# module_sources DIRECTORY [PATCH]: the module's sources as they are in the repository now,
# with a patch applied
module_sources() {
	rm -rf --one-file-system "$1"
	mkdir -p "$1"
	(cd "$REPO" && git ls-files -z -- Kbuild rust | xargs -0 cp -p --parents -t "$1")
	[ $# = 1 ] || (cd "$1" && GIT_CEILING_DIRECTORIES=${1%/*} git apply "$2")
}
