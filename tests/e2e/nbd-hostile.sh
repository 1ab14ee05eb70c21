#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Clients that send garbage, stall, vanish in the middle of requests or come by
# the hundred, while another one verifies what it wrote: it notices nothing,
# and the server keeps neither their connections nor their memory.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/nbd-lib.sh"
requires fio --version
requires python3 --version

# The last MiB is for what the others write, if it becomes a request.
start_export disk --size 65M --overflow "$tmp/overflow" --max-connections 300

(cd "$tmp" && exec fio --name=good --ioengine=nbd --uri="$nbd_uri" \
	--rw=randwrite --bsrange=512-64k --blockalign=512 --size=64M \
	--iodepth=8 --loops=4 --verify=xxhash --verify_fatal=1 \
	--verify_state_save=0) >"$tmp/fio.txt" 2>&1 &
good=$!
cleanup_fn stop_process "$good"

python3 - "$nbd_socket" <<'END'
import os, random, socket, struct, sys

HELLO = struct.pack('>I', 3)
GO = b'IHAVEOPT' + struct.pack('>II', 7, 6) + bytes(6)
def request(kind, offset, length, flags=0):
    return struct.pack('>IHHQQI', 0x25609513, flags, kind, 1, offset, length)

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.settimeout(20)
    return s

def answers():
    s = connect()
    assert s.recv(18, socket.MSG_WAITALL) == b'NBDMAGICIHAVEOPT\0\3'
    s.close()

random.seed(int(os.environ.get('SEED', 1)))
words = [HELLO, GO, request(0, 0, 1 << 20), request(1, 64 << 20, 4096),
         request(0, 1 << 63, 4096), request(1, (1 << 64) - 1, 1 << 31),
         request(7, 0, 0xffffffff), request(4, 0, 0), request(99, 0, 9),
         b'IHAVEOPT' + struct.pack('>II', 3, 0xffffffff),
         b'IHAVEOPT' + struct.pack('>II', 10, 16) + b'\xff' * 16]
for _ in range(400):
    s = connect()
    try:
        if random.random() < .7:
            s.sendall(HELLO + GO)
        for _ in range(random.randrange(6)):
            s.sendall(random.choice(words))
        if random.random() < .5:
            s.sendall(os.urandom(random.randrange(1, 70000)))
        if random.random() < .5:
            s.recv(random.randrange(1, 4096))
    except OSError:
        pass
    s.close()
answers()

# Many at once, who say nothing, or ask for much and read nothing.
crowd = []
for i in range(256):
    s = connect()
    if i % 2:
        s.sendall(HELLO + GO)
        s.setblocking(False)
        try:
            for _ in range(64):
                s.sendall(request(0, 0, 32 << 20))
        except OSError:
            pass
    crowd.append(s)
answers()
for s in crowd:
    s.close()
END

wait "$good" || fail "fio: $(grep -iE 'verify|error|fio:' "$tmp/fio.txt")"
(($(nbd_stat disk dropped) > 50)) || fail "hardly any client was dropped"
no_connections() {
	(($(nbd_stat disk connections) == 0))
}
wait_for 30 no_connections || fail "connections of clients that left are kept"
mostly_overflowed disk
end_server "$nbd_pid"
