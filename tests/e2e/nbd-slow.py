# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests that wait for an overflow file, beside others:
nbd-slow.py SOCKET DISK BELOW, for a device of 128 MiB in a store of 16 MiB.

DISK is faultfs's mountpoint, which has the overflow file, and BELOW its
directory. Reads that are held stay so until the disk is well. The last clients
leave while theirs are under way: the disk is held when this ends."""

import os
import select
import socket
import struct
import sys
import time

path, disk, below = sys.argv[1:]
READ, WRITE, FLUSH, TRIM = 0, 1, 3, 4
PAGE, MIB = 4096, 1 << 20
EIO, ENOSPC = 5, 28
HOLD = 600000  # as good as for ever; ms
TASKS = 16  # of a connection
model = bytearray(128 * MIB)


class Client:
    """A connection with structured replies."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(100)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb", 1 << 16)
        self.under_way = {}
        self.file.read(18)
        self.socket.sendall(struct.pack(">I", 3))
        for option, data in (8, b""), (7, bytes(6)):
            self.socket.sendall(b"IHAVEOPT" + struct.pack(
                ">II", option, len(data)) + data)
            kind = 0
            while kind != 1:  # ACK
                kind, length = struct.unpack(">12xII", self.file.read(20))
                assert kind < 1 << 31, f"option {option}: {kind:#x}"
                self.file.read(length)

    def send(self, kind, offset=0, length=0):
        """A request, a WRITE's bytes from the model. Returns its cookie."""
        cookie = len(self.under_way) + 1
        while cookie in self.under_way:
            cookie += 1
        self.under_way[cookie] = kind, offset, length
        wire = struct.pack(">IHHQQI", 0x25609513, 0, kind, cookie, offset,
                           length)
        if kind == WRITE:
            wire += model[offset:offset + length]
        self.socket.sendall(wire)
        return cookie

    def exact(self, length):
        data = self.file.read(length)
        assert len(data) == length, "the server has hung up"
        return data

    def chunk(self, data, start):
        """Take one of a READ's reply. Returns its cookie, whether it is the
        last, and an error with its place, or None."""
        flags, kind, cookie, length = struct.unpack(">HHQI", self.exact(16))
        payload = self.exact(length)
        at = 0
        if kind in (1, 2):
            at = struct.unpack_from(">Q", payload)[0] - start(cookie)
        if kind == 1:
            data[at:at + length - 8] = payload[8:]
        error = None
        if kind == 0x8002:
            error = struct.unpack(">I2xQ", payload)
        assert kind in (0, 1, 2, 0x8002), f"chunk of type {kind:#x}"
        return cookie, flags & 1, error

    def receive(self):
        """The next reply: its cookie and its error, 0 or a number, with its
        place for a READ. What a READ brings is as in the model."""
        data, last, error = bytearray(MIB), False, None
        while not last:
            magic, = struct.unpack(">I", self.exact(4))
            if magic == 0x67446698:
                number, cookie = struct.unpack(">IQ", self.exact(12))
                del self.under_way[cookie]
                return cookie, number
            assert magic == 0x668e33ef, "that is no reply"
            cookie, last, bad = self.chunk(
                data, lambda cookie: self.under_way[cookie][1])
            error = error or bad
        _, offset, length = self.under_way.pop(cookie)
        if not error and data[:length] != model[offset:offset + length]:
            raise AssertionError(f"wrong bytes at {offset}")
        return cookie, error or 0

    def is_answered(self):
        """Whether a reply has arrived; nothing of it was received before."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def expect(self, cookies):
        """The next replies are those, in any order, and without error."""
        left = set(cookies)
        while left:
            cookie, error = self.receive()
            assert cookie in left, f"{cookie} was answered before {left}"
            assert not error, f"request {cookie} failed: {error}"
            left.remove(cookie)

    def do(self, kind, offset=0, length=0):
        self.expect([self.send(kind, offset, length)])

    def close(self):
        self.file.close()
        self.socket.close()


def control(*words):
    with open(f"{disk}/control", "w") as file:
        file.write(" ".join(map(str, words)))


def requests(kind):
    """How many of a kind the disk was asked for since it was well."""
    with open(f"{disk}/control") as file:
        for line in file:
            if line.split()[0] == kind:
                return int(line.split()[1])


def wait_for(what, condition):
    end = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < end, f"waited for {what} in vain"
        time.sleep(.01)


def slots(start, end):
    """The pages of a range that have a slot."""
    found = set()
    fd = os.open(f"{below}/overflow", os.O_RDONLY)
    try:
        while start < end:
            start = os.lseek(fd, start, os.SEEK_DATA)
            hole = os.lseek(fd, start, os.SEEK_HOLE)
            found.update(range(start, min(hole, end), PAGE))
            start = hole
    except OSError:
        pass  # no more data
    os.close(fd)
    return found


def random_bytes(offset, length):
    model[offset:offset + length] = os.urandom(length)


# Twice what the store takes: what came first is in the file for good. Then
# room is made, and what is written last is in the pool, and stays.
WARM = 64 * MIB
client = Client()
for at in range(0, 32 * MIB, MIB):
    random_bytes(at, MIB)
    client.do(WRITE, at, MIB)


def make_room(start, end):
    """Trim pages of which many are in the pool; then a MiB fits and stays."""
    client.do(TRIM, start, end - start)
    model[start:end] = bytes(end - start)
    client.do(TRIM, WARM, MIB)
    random_bytes(WARM, MIB)
    client.do(WRITE, WARM, MIB)
    client.do(READ, WARM, MIB)
    assert not slots(WARM, WARM + MIB), "the store has no room for a MiB"


make_room(22 * MIB, 32 * MIB)

# Blocks of 8 pages in the file, two in each range that has a lock.
in_file = slots(0, 16 * MIB)
cold = [at for at in range(0, 16 * MIB, MIB // 4)
        if in_file.issuperset(range(at, at + 8 * PAGE, PAGE))]
cold += [at + MIB // 8 for at in cold
         if in_file.issuperset(range(at + MIB // 8, at + MIB // 8 + 8 * PAGE,
                                     PAGE))]
assert len(cold) >= 65, f"only {len(cold)} blocks are in the file"


def read_cold(who, count):
    """READs of blocks in the file, under way: the disk holds them."""
    control("delay", "read", HOLD)
    cookies = []
    while len(cookies) < count:
        before = requests("read")
        cookies.append(who.send(READ, cold.pop(), 8 * PAGE))
        if len(cookies) > TASKS:
            continue
        wait_for("a read of the file",
                 lambda: requests("read") > before or who.is_answered())
        if who.is_answered():
            who.expect([cookies.pop()])  # was in the pool still
    return cookies


def do_warm(who):
    """What needs no file."""
    random_bytes(WARM + 8 * PAGE, 4 * PAGE)
    who.expect([who.send(READ, WARM, PAGE),
                who.send(READ, WARM + PAGE, 7 * PAGE),
                who.send(WRITE, WARM + 8 * PAGE, 4 * PAGE)])
    who.do(READ, WARM + 8 * PAGE, 4 * PAGE)


other = Client()

print("requests that need no file and a FLUSH, while others wait for it")
before = requests("sync")
waiting = read_cold(client, 8)
for _ in range(3):
    do_warm(client)
client.do(FLUSH)
assert requests("sync") == before + 1, "FLUSH has not synced the file"
control("well")
client.expect(waiting)

print("a FLUSH that waits with them")
control("delay", "sync", HOLD)
at = cold.pop()
client.do(TRIM, at, PAGE)
model[at:at + PAGE] = bytes(PAGE)
waiting = read_cold(client, 4) + [client.send(FLUSH)]
wait_for("a sync", lambda: requests("sync"))
do_warm(client)
control("well")
client.expect(waiting)

print("TRIMs that wait, and one that fails")
control("delay", "punch", HOLD)
waiting = []
for at in cold.pop(), cold.pop():
    waiting += [client.send(TRIM, at, 8 * PAGE)]
    model[at:at + 8 * PAGE] = bytes(8 * PAGE)
wait_for("a punch", lambda: requests("punch"))
do_warm(client)
client.do(TRIM, WARM + 16 * PAGE, PAGE)
model[WARM + 16 * PAGE:WARM + 17 * PAGE] = bytes(PAGE)
client.do(READ, WARM + 16 * PAGE, PAGE)
control("well")
client.expect(waiting)
client.do(READ, at, 8 * PAGE)
at = cold.pop()
control("fail", "punch", at, PAGE)
cookie = client.send(TRIM, at, 8 * PAGE)
assert client.receive() == (cookie, EIO)
control("well")
client.do(READ, at, 8 * PAGE)

print("more than can wait")
waiting = read_cold(client, 20)
do_warm(other)
control("well")
client.expect(waiting)

print("a client that does not read holds no lock")
at = cold[-1] + 8 * PAGE
waiting = read_cold(client, 1)
waiting += [client.send(READ, WARM, MIB) for _ in range(12)]
control("well")
random_bytes(at, PAGE)
other.do(WRITE, at, PAGE)
client.expect(waiting)

print("a page that cannot be read")
at = cold.pop()
bad = at + 3 * PAGE
control("fail", "read", bad, PAGE)
for start, length, where in ((at, 8 * PAGE, bad), (bad - 100, 200, bad),
                             (bad + 512, 512, bad + 512)):
    cookie = client.send(READ, start, length)
    assert client.receive() == (cookie, (EIO, where))
client.do(READ, at, 3 * PAGE)
client.do(READ, bad + PAGE, 4 * PAGE)
control("well")
client.do(READ, at, 8 * PAGE)

print("pages that find no room")
control("space", os.stat(f"{below}/overflow").st_blocks * 512 + MIB)


def write(at):
    """Write a page; what is refused leaves the old one. Returns whether not."""
    old = model[at:at + PAGE]
    random_bytes(at, PAGE)
    cookie = client.send(WRITE, at, PAGE)
    answer = client.receive()
    assert answer in ((cookie, 0), (cookie, ENOSPC)), f"answer {answer}"
    if answer[1]:
        model[at:at + PAGE] = old
    return not answer[1]


good, refused = [], []
while len(refused) < 64:
    at = 96 * MIB + (len(good) + len(refused)) * PAGE
    (good if write(at) else refused).append(at)
for at in good[-32:]:
    write(at)
for at in good + refused:
    client.do(READ, at, PAGE)
assert good
control("well")
for at in refused:
    assert write(at), "the disk is not full any more"

print("clients that leave")
make_room(96 * MIB, 128 * MIB)
leaver = Client()
read_cold(leaver, 20)
leaver.close()
read_cold(client, 4)
client.close()
do_warm(other)
other.close()
