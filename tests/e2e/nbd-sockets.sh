#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sockets that tmem-nbd is handed: by systemd's protocol, which libnbd's tools
# speak, and as stdin, listening or with its one client.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/nbd-lib.sh"
requires nbdinfo --version
requires python3 --version

# refused TEXT COMMAND...: must fail and say TEXT.
refused() {
	local text=$1
	shift
	! "$@" >"$tmp/refused" 2>&1 || fail "$* was not refused"
	grep -qF -- "$text" "$tmp/refused" || fail "said: $(cat "$tmp/refused")"
}

# What libnbd's interoperability programs do: the tool listens, starts the
# server, connects, and kills it when done.
server=(tmem-nbd --embedded --budget 16M --size 1M)
[[ $(nbdinfo --size -- [ "${server[@]}" ]) == 1048576 ]] ||
	fail "a socket that was handed over is not served"
nbdinfo --list -- [ "${server[@]}" --name x --description "an export" ] \
	>"$tmp/list"
grep -q 'export="x"' "$tmp/list"
grep -q "description: an export" "$tmp/list"
# A server of tmemd's: the keeper hands the socket on.
start_tmemd --config /dev/null --budget 16M
[[ $(nbdinfo --size -- [ tmem-nbd --tmemd "$tmemd_socket" --size 2M ]) == 2097152 ]] ||
	fail "tmemd does not serve a socket that was handed over"

# One client's own server, by its stdin, which ends when it leaves.
python3 - "$tmp" "$tmemd_socket" <<'END'
import os, socket, subprocess, sys
tmp, tmemd = sys.argv[1:]
SERVER = ['tmem-nbd', '--socket=-', '--size=1M', '--embedded', '--budget=16M']
GREETING = b'NBDMAGICIHAVEOPT\0\3'

def serve(sock, command=SERVER):
    server = subprocess.Popen(command, stdin=sock, stderr=subprocess.PIPE)
    sock.close()
    return server

def greeted(sock):
    sock.settimeout(60)
    assert sock.recv(18, socket.MSG_WAITALL) == GREETING

def ended(server):
    server.stderr.close()
    assert server.wait(60) == 0, server.returncode

# A client that leaves as it should, one that vanishes, one that says nonsense.
for words in (b'\0\0\0\3IHAVEOPT\0\0\0\2\0\0\0\0', b'', b'GET / HTTP/1.1\r\n'):
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    server = serve(theirs)
    greeted(ours)
    ours.sendall(words)
    if not words:
        ours.close()
    else:
        while ours.recv(4096):
            pass
    ended(server)

# A socket that listens: it is its owner's, and stays when the server ends.
path = tmp + '/stdin.nbd'
listening = socket.socket(socket.AF_UNIX)
listening.bind(path)
listening.listen()
server = serve(listening)
for _ in range(3):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    greeted(client)
server.terminate()
ended(server)
assert os.path.exists(path)

# A connection is not handed on to a tmemd, whose end it would not survive.
ours, theirs = socket.socketpair(socket.AF_UNIX)
server = serve(theirs, SERVER[:3] + ['--tmemd', tmemd])
said = server.stderr.read()
assert server.wait(60) == 1 and b'hand over a listening socket' in said, said
END

# What is no socket, or more than one.
refused "is no unix stream socket" "${server[@]}" --socket=- </dev/null
handed_over() {
	LISTEN_FDS=$1
	shift
	# shellcheck disable=SC2016 # for the inner shell
	LISTEN_FDS=$LISTEN_FDS bash -c 'LISTEN_PID=$$ exec "$@"' bash "$@" \
		3</dev/null 4</dev/null
}
refused "descriptor 3 is no unix stream socket" handed_over 1 "${server[@]}"
refused "2 sockets were handed over" handed_over 2 "${server[@]}"
refused "leave out --socket" handed_over 1 "${server[@]}" --socket "$tmp/a.nbd"
