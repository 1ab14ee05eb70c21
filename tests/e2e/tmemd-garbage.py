# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad peers of tmemd's control socket: tmemd-garbage.py SOCKET CASE.

Each case says on stdout what it expects, and fails if tmemd does not keep to
it. Cases that occupy tmemd print "ready" and stay until stdin ends."""

import array
import json
import os
import random
import socket
import sys

path, case = sys.argv[1:]


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(path)
    return s


def answer(s):
    """The next line, or None when tmemd has hung up."""
    line = b""
    try:
        while not line.endswith(b"\n"):
            some = s.recv(65536)
            if not some:
                return None
            line += some
    except ConnectionResetError:
        return None
    return json.loads(line)


def send(s, data):
    try:
        s.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass  # tmemd may hang up in the middle


def request(data, descriptors=()):
    """Send data; the connection and tmemd's reply. Connections closed before
    may still count: then again."""
    while True:
        s = connect()
        try:
            s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                array.array("i", descriptors))])
        except (BrokenPipeError, ConnectionResetError):
            pass  # tmemd may hang up in the middle
        reply = answer(s)
        if reply is None or reply.get("errno") != "EUSERS":
            return s, reply
        s.close()


def refused(data, end=True, descriptors=()):
    """A refusal that says why and, with end, nothing after it."""
    s, reply = request(data, descriptors)
    assert reply is not None and reply["ok"] is False, (data[:80], reply)
    assert reply["errno"].startswith("E") and reply["error"], reply
    if end:
        assert answer(s) is None, data[:80]
    s.close()


def garbage():
    rng = random.Random(1)
    for data in (b"\n", b"{}\n", b"[]\n", b"null\n", b"\0\n", b"\xff\xfe\n",
                 b'{"tmem": 1}\n', b'{"tmem": 2, "op": "stats"}\n',
                 b'{"tmem": "1", "op": "stats"}\n', b'{"op": "stats"}\n',
                 b'{"tmem": 1, "op": 7}\n', b"GET / HTTP/1.1\r\n\r\n",
                 b'{"tmem": 1, "op": "stats"\n',
                 b'{"tmem": 1, "tmem": 1, "op": "stats"}\n',
                 b'{"tmem": 1, "op": "attach"}\n',
                 b'{"tmem": 1, "op": "attach", "name": "a/b"}\n',
                 b'{"tmem": 1, "op": "attach", "name": "%s"}\n' % (b"x" * 64),
                 b'{"tmem": 1, "op": "attach", "name": "", "domain": 7}\n',
                 b'{"tmem": 1, "op": "nbd-export"}\n',
                 b'{"tmem": 1, "op": "nbd-export", "name": "x"}\n',
                 b'{"tmem": 1, "op": "nbd-export", "name": 7}\n',
                 b"[" * 60000 + b"\n"):
        refused(data)
    for data in (b'{"tmem": 1, "op": "%s"}\n' % (b"x" * 1000),
                 b'{"tmem": 1, "op": "\xc3\xa9"}\n',
                 b'{"tmem": 1, "op": "set"}\n',
                 b'{"tmem": 1, "op": "set", "client": 7}\n',
                 b'{"tmem": 1, "op": "set", "client": "web", "weight": 7}\n',
                 b'{"tmem": 1, "op": "set", "budget": "-1"}\n',
                 b'{"tmem": 1, "op": "set", "budget": "99999999T"}\n',
                 b'{"tmem": 1, "op": "flush", "pool": "/"}\n',
                 b'{"tmem": 1, "op": "flush", "pool": "%s/x"}\n' % (b"y" * 90),
                 b'{"tmem": 1, "op": "flush", "client": "id:-1"}\n',
                 b'{"tmem": 1, "op": "freeze", "client": "id:99999999999"}\n',
                 b'{"tmem": 1, "op": "reclaim", "bytes": 4096}\n',
                 b'{"tmem": 1, "op": "reclaim", "bytes": "1e9"}\n',
                 b'{"tmem": 1, "op": "shared-auth", "name": "a",'
                 b' "uuid": "0", "uid": 0, "allow": true}\n',
                 b'{"tmem": 1, "op": "shared-auth", "name": "a", "uuid":'
                 b' "00112233445566778899aabbccddeeff", "uid": -1,'
                 b' "allow": true}\n'):
        refused(data, end=False)
    for _ in range(300):
        s = connect()
        send(s, bytes(rng.randrange(256) for _ in range(rng.randrange(200))))
        s.close()
    for _ in range(300):
        data = bytearray(b'{"tmem": 1, "op": "list", "client": "web"}\n')
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data) - 1)] = rng.randrange(1, 128)
        s = connect()
        send(s, bytes(data))
        s.shutdown(socket.SHUT_WR)
        while answer(s) is not None:
            pass
        s.close()


def huge():
    """tmemd hangs up on what does not end, whether or not it is heard."""
    s = connect()
    send(s, b"x" * (8 << 20))
    reply = answer(s)
    assert reply is None or reply["ok"] is False, reply
    s.close()
    s = connect()
    send(s, b'{"tmem": 1, "op": "' + b"x" * 100000 + b'"}\n')
    reply = answer(s)
    assert reply is None or reply["ok"] is False, reply
    s.close()


def descriptors():
    """Descriptors that nobody asked for are closed, not kept."""
    for count in (1, 4, 5, 200):
        read, write = os.pipe()
        s, _ = request(b'{"tmem": 1, "op": "list"}\n', [write] * count)
        os.close(write)
        s.close()
        # All copies of the writing end are gone: the reading end sees it.
        assert os.read(read, 1) == b""
        os.close(read)
    idle = socket.socket(socket.AF_UNIX)
    tcp = socket.create_server(("127.0.0.1", 0))
    for bad in ([], [os.pipe()[0]], [os.open("/dev/zero", os.O_RDONLY)],
                [idle.fileno()], [tcp.fileno()], [tcp.fileno()] * 2):
        refused(b'{"tmem": 1, "op": "nbd-export", "name": "bad",'
                b' "size": 1048576}\n', descriptors=bad)


def hold(sockets):
    print("ready", flush=True)
    sys.stdin.read()
    for s in sockets:
        s.close()


def stalled():
    """Connections that send half a request, or nothing."""
    sockets = []
    for i in range(100):
        s = connect()
        if i % 2:
            send(s, b'{"tmem": 1, "op"')
        sockets.append(s)
    hold(sockets)


def deaf():
    """Connections that ask much and read nothing."""
    sockets = []
    for _ in range(20):
        s = connect()
        s.setblocking(False)
        try:
            while True:
                s.send(b'{"tmem": 1, "op": "stats"}\n' * 100)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
        sockets.append(s)
    hold(sockets)


def many():
    """More connections than there may be: the rest are hung up on."""
    sockets = [connect() for _ in range(900)]
    hold(sockets)


def slow():
    """A byte at a time does not last longer than silence."""
    s = connect()
    s.settimeout(1)
    sent = 0
    for byte in b'{"tmem": 1, "op": "' + b"x" * 60000:
        try:
            s.send(bytes([byte]))
            sent += 1
            try:
                if not s.recv(1):
                    break
            except TimeoutError:
                continue
        except (BrokenPipeError, ConnectionResetError):
            break
    assert sent < 1000, "tmemd never lost patience"


{"garbage": garbage, "huge": huge, "descriptors": descriptors,
 "stalled": stalled, "deaf": deaf, "many": many, "slow": slow}[case]()
