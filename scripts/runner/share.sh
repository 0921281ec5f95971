# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by what runs guests, inside the tree: directories for the guest.

# share SOCKET DIRECTORY CACHE [OPTION...]: starts a virtiofsd behind the socket
share() {
	/usr/libexec/virtiofsd --socket-path "$1" --shared-dir "$2" \
		--sandbox none --cache "$3" "${@:4}" >"${1%.sock}-virtiofsd.log" 2>&1 &
}

# wait_shares SOCKET...: until each can be connected to
wait_shares() {
	local socket
	for socket; do
		for _ in $(seq 200); do
			[ -S "$socket" ] && break
			sleep 0.05
		done
		[ -S "$socket" ] || {
			cat "${socket%.sock}-virtiofsd.log" >&2
			exit 126
		}
	done
}
