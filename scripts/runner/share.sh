# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by what runs guests, inside the tree: directories for the guest. A share's
# socket is /tmp/NAME.sock, as the path of a socket must be short; /tmp is the tree's own.

# share NAME DIRECTORY CACHE [OPTION...]: starts a virtiofsd; its log is $dir/NAME-virtiofsd.log
share() {
	/usr/libexec/virtiofsd --socket-path "/tmp/$1.sock" --shared-dir "$2" \
		--sandbox none --cache "$3" "${@:4}" >"${dir:?}/$1-virtiofsd.log" 2>&1 &
}

# wait_shares NAME...: until each can be connected to
wait_shares() {
	local name
	for name; do
		for _ in $(seq 200); do
			[ -S "/tmp/$name.sock" ] && break
			sleep 0.05
		done
		[ -S "/tmp/$name.sock" ] || {
			cat "$dir/$name-virtiofsd.log" >&2
			exit 126
		}
	done
}
