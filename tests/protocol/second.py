"""A second implementation of the ropewalk protocol, written from PROTOCOL.md alone: its client fetches
from the real server, its server serves the real client. Needs Python 3.8, and nothing else.

    python3 tests/protocol/second.py FOLDER      the folder of the four programs
"""

import base64
import hashlib
import http.client
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.parse

# --- Messages ------------------------------------------------------------------------------------


def table_entry(byte):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


TABLE = [table_entry(byte) for byte in range(256)]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def seal(message):
    return message + struct.pack(">I", crc32c(message))


def is_sealed(message):
    return seal(message[:-4]) == message


HEADER = ">BBHIQQI"
DATA, HOLE, ERROR, ENTRIES, SAME, WAIT, REFUSED, MD5_SAID = 1, 2, 3, 4, 5, 6, 7, 9
REQUEST = ">BBHIQI"
RANGE, FINISHED, LIST, IDLE, MD5 = 1, 2, 4, 5, 7
MD5_START = bytes.fromhex("0123456789abcdeffedcba9876543210")
ENTRY = ">HBBHHqIIIQQQ16s"
FILE, FOLDER, LINK = 1, 2, 3
UNCHECKED, HASHED = 1, 1
UNIT = 65536


def hello(token, max_block, flags=0):
    return seal(struct.pack(">BBBx16sI", 0xFF, 2, flags, token, max_block))


def hash_of(data):
    middle = len(data) // 2
    halves = [hashlib.sha256(half).digest() for half in (data[:middle], data[middle:])]
    return hashlib.sha256(b"".join(halves)).digest()[:16]


def request(offset, length, hashed=b""):
    flags = HASHED if hashed else 0
    head = struct.pack(REQUEST, RANGE, flags, len(hashed), crc32c(hashed), offset, length)
    return seal(head) + hashed


def named_request(kind, offset, length, rest):
    return seal(struct.pack(REQUEST, kind, 0, len(rest), crc32c(rest), offset, length)) + rest


def entries(page):
    """Each entry of a page as a dictionary."""
    keys = "length name_length type mode text_length mtime_s mtime_ns uid gid size stored tag identity"
    while page:
        entry = dict(zip(keys.split(), struct.unpack(ENTRY, page[:68])))
        texts = page[68 : entry["length"]]
        entry["name"] = texts[: entry["name_length"]]
        entry["text"] = texts[entry["name_length"] :][: entry["text_length"]]
        yield entry
        page = page[entry["length"] :]


def finished():
    return seal(struct.pack(">B19x", FINISHED))


def same_block(offset, length):
    return seal(struct.pack(HEADER, SAME, 0, 0, length, offset, 0, 0))


def wait_block():
    return seal(struct.pack(HEADER, WAIT, 0, 0, 0, 0, 0, 0))


def data_block(offset, payload, crc):
    return seal(struct.pack(HEADER, DATA, 0, 0, len(payload), offset, 0, crc)) + payload


def hole_block(offset, length, run):
    return seal(struct.pack(HEADER, HOLE, 0, 0, length, offset, run, 0))


def error_block(code, text):
    return seal(struct.pack(HEADER, ERROR, code, 0, len(text), 0, 0, crc32c(text))) + text


def read_exactly(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


# --- Client --------------------------------------------------------------------------------------


def converse(address, method, path, fields, body=b""):
    """Sends one request on a connection of its own; the reply and its body."""
    with socket.create_connection(address) as connection:
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: second"] + fields
        if method == "POST":
            lines.append("Content-Length: %d" % len(body))
        connection.sendall("\r\n".join(lines + ["", ""]).encode() + body)
        reply = http.client.HTTPResponse(connection, method=method)
        reply.begin()
        return reply, reply.read()


class Client:
    """One fetch, in pieces of a block. `older` has bytes of which the new file may have some."""

    def __init__(self, server, path, out, streams, flags=0, single_port=False, older=b""):
        self.server, self.path, self.streams = server, path, streams
        self.flags, self.single_port = flags, single_port
        self.max_block, self.lock, self.etag, self.holes = UNIT, threading.Lock(), None, 0
        self.older, self.kept = older, 0
        self.begin_session()
        self.out = open(out, "w+b")
        self.out.truncate(self.size)
        self.todo = list(range(0, self.size, self.max_block))

    def begin_session(self):
        wish = {"threads": self.streams, "protocol": 2}
        reply, body = converse(self.server, "POST", self.path, [], json.dumps(wish).encode())
        assert reply.status == 200, body
        offer = json.loads(body)
        assert offer["protocol"] == 2 and self.etag in (None, reply.headers["ETag"])
        self.etag, self.size = reply.headers["ETag"], offer["size"]
        self.token = bytes.fromhex(offer["session"])
        self.port = self.server[1] if self.single_port else offer["port"]

    def connect(self):
        stream = socket.create_connection((self.server[0], self.port))
        stream.sendall(hello(self.token, self.max_block, self.flags))
        return stream

    def take_pieces(self, count):
        with self.lock:
            taken, self.todo = self.todo[:count], self.todo[count:]
        return [[at, min(self.max_block, self.size - at)] for at in taken]

    def pull(self, stream, most):
        """Requests up to `most` pieces on this stream, four at a time, and writes what comes."""
        asked = []
        while True:
            new = self.take_pieces(min(4 - len(asked), most))
            most -= len(new)
            for offset, length in new:
                old = self.older[offset : offset + UNIT]
                hashed = hash_of(old) if length == len(old) == UNIT else b""
                stream.sendall(request(offset, length, hashed))
            asked += new
            if not asked:
                return
            self.take_block(stream, asked[0])
            if asked[0][1] == 0:
                asked.pop(0)

    def take_block(self, stream, oldest):
        header = read_exactly(stream, 32)
        assert is_sealed(header)
        kind, code, _, length, offset, run, crc = struct.unpack(HEADER, header[:28])
        if kind == WAIT:
            return
        assert kind in (DATA, HOLE, SAME), (kind, code)
        assert offset == oldest[0] and 1 <= length <= oldest[1]
        assert length >= 512 or length == oldest[1]
        if kind == DATA:
            assert length <= self.max_block
            payload = read_exactly(stream, length)
            assert crc == (0 if self.flags & UNCHECKED else crc32c(payload))
            os.pwrite(self.out.fileno(), payload, offset)
        elif kind == SAME:
            assert length == oldest[1] == UNIT
            os.pwrite(self.out.fileno(), self.older[offset : offset + UNIT], offset)
            self.kept += 1
        else:
            assert run >= length and offset + run <= self.size
            self.holes += 1
            within = range(offset + length, offset + run)
            with self.lock:  # whole pieces of the rest that no stream was asked for
                self.todo = [
                    at
                    for at in self.todo
                    if at not in within or min(at + self.max_block, self.size) > within.stop
                ]
        oldest[0] += length
        oldest[1] -= length

    def fetch(self, most=1 << 60):
        """Pulls everything over all streams, or `most` pieces on each."""
        streams = [self.connect() for _ in range(self.streams)]
        in_threads([lambda stream=stream: self.pull(stream, most) for stream in streams])
        return streams

    def finish(self, streams):
        for stream in streams:
            try:
                stream.sendall(finished())
            except OSError:
                pass  # the sender has read another one, and has ended
            stream.close()
        fields = ["If-Match: " + self.etag, "Want-Repr-Digest: md5=1"]
        reply, _ = converse(self.server, "HEAD", self.path, fields)
        assert reply.status == 200
        self.out.seek(0)
        digest = base64.b64encode(hashlib.md5(self.out.read()).digest()).decode()
        assert reply.headers["Repr-Digest"] == "md5=:%s:" % digest
        self.out.close()


class TreeClient:
    """Fetches a folder over one stream, with all ranges of a file under way at once."""

    def __init__(self, server, path):
        wish = {"threads": 1, "protocol": 2, "tree": True}
        reply, body = converse(server, "POST", path, [], json.dumps(wish).encode())
        self.offer = json.loads(body)
        assert reply.status == 200 and "ETag" not in reply.headers, body
        self.stream = socket.create_connection((server[0], self.offer["port"]))
        self.stream.sendall(hello(bytes.fromhex(self.offer["session"]), UNIT))

    def block(self):
        header = read_exactly(self.stream, 32)
        assert is_sealed(header)
        kind, code, _, length, offset, run, crc = struct.unpack(HEADER, header[:28])
        if kind == WAIT:
            return self.block()
        assert kind in (DATA, HOLE, ENTRIES, REFUSED, MD5_SAID)
        is_bare = kind in (HOLE, MD5_SAID)
        payload = b"" if is_bare else read_exactly(self.stream, length)
        assert is_bare or crc == crc32c(payload)
        return kind, code, length, offset, header[8:24], payload

    def list(self, folder, identity):
        """All entries of a folder with this identity."""
        last, found = b"", []
        while True:
            rest = struct.pack(">H", len(folder)) + folder + last
            self.stream.sendall(named_request(LIST, 0, 8192, rest))
            kind, code, _, _, shown, page = self.block()
            assert kind == ENTRIES and shown == identity and len(page) <= 8192
            for entry in entries(page):
                assert entry["name"] > last
                last = entry["name"]
                found.append(entry)
            if code:
                assert code == 1
                return found
            assert page

    def read(self, name, entry):
        """The bytes of a file."""
        data, offsets = b"", range(0, entry["size"], UNIT)
        for offset in offsets:
            length = min(UNIT, entry["size"] - offset)
            self.stream.sendall(named_request(RANGE, offset, length, entry["identity"] + name))
        while len(data) < entry["size"]:
            kind, _, length, offset, _, payload = self.block()
            assert kind in (DATA, HOLE) and offset == len(data)
            data += bytes(length) if kind == HOLE else payload
        return data

    def md5(self, name, entry):
        """The MD5 of a file in two ranges."""
        state, offset, size = MD5_START, 0, entry["size"]
        for end in sorted({min(size, size // 128 * 64 or size), size}):
            rest = state + entry["identity"] + name
            self.stream.sendall(named_request(MD5, offset, end - offset, rest))
            kind, _, length, _, state, _ = self.block()
            assert kind == MD5_SAID and length == end - offset
            offset = end
        return state

    def refusal(self, name, identity):
        """Why there is no first byte of a file."""
        self.stream.sendall(named_request(RANGE, 0, 1, identity + name))
        kind, code, _, _, _, payload = self.block()
        assert kind == REFUSED
        return code, payload

    def walk(self):
        """Every entry of the tree with its name, and the bytes of each file."""
        folders = [(b"", bytes.fromhex(self.offer["folder"]))]
        while folders:
            folder, identity = folders.pop()
            for entry in self.list(folder, identity):
                name = folder + b"/" + entry["name"] if folder else entry["name"]
                if entry["type"] == FOLDER:
                    folders.append((name, entry["identity"]))
                yield name, entry, self.read(name, entry) if entry["type"] == FILE else b""


def in_threads(works):
    """Runs each in a thread of its own; raises what one of them raises."""
    failures = []

    def run(work):
        try:
            work()
        except Exception as failure:  # raised again below
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


# --- Server --------------------------------------------------------------------------------------


class Session:
    def __init__(self, path):
        self.file, self.token = open(path, "rb"), os.urandom(16)
        self.size, self.streams, self.over = os.path.getsize(path), [], False
        self.listener = socket.create_server(("127.0.0.1", 0))


class Server:
    """Serves one folder. `cut` bounds a block. `fault` is called with the number of each data block,
    counted from 1, and says what goes wrong with it."""

    def __init__(self, folder, cut=1 << 20, fault=lambda number: None):
        self.folder, self.cut, self.fault = folder, cut, fault
        self.sessions, self.lock, self.sent, self.finished = {}, threading.Lock(), 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start(self.accept, self.listener, self.control)

    def start(self, work, *arguments):
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def accept(self, listener, serve):
        try:
            while True:
                self.start(self.guarded, serve, listener.accept()[0])
        except OSError:
            pass  # closed: the session is over

    def guarded(self, serve, connection):
        try:
            serve(connection)
        except (EOFError, OSError):
            pass  # the peer has gone, or the session is over
        connection.close()

    def control(self, connection):
        if connection.recv(1, socket.MSG_PEEK) == b"\xff":
            shown = read_exactly(connection, 28)
            session = self.sessions.get(shown[4:20])
            if session:
                return self.stream(session, connection, shown)
            return connection.sendall(error_block(5, b"no such session"))
        lines = connection.makefile("rb")
        for line in lines:
            method, path = line.split(b" ", 1)[0], line.split(b" ", 1)[1].rsplit(b" ", 1)[0]
            fields = dict(iter(lambda: self.field(lines), None))
            lines.read(int(fields.get(b"content-length", 0)))
            path = os.path.join(self.folder.encode(), urllib.parse.unquote_to_bytes(path))
            connection.sendall(self.answer(method, path))

    @staticmethod
    def field(lines):
        name, colon, value = lines.readline().strip().partition(b":")
        return (name.lower(), value.strip()) if colon else None

    def answer(self, method, path):
        tag = '"%d"' % os.stat(path).st_mtime_ns
        if method == b"HEAD":
            with open(path, "rb") as file:
                digest = base64.b64encode(hashlib.md5(file.read()).digest()).decode()
            fields, body = ["Repr-Digest: md5=:%s:" % digest], b""
        else:
            session = Session(path)
            self.sessions[session.token] = session
            serve = lambda connection: self.stream(session, connection)
            self.start(self.accept, session.listener, serve)
            offer = {
                "protocol": 2,
                "port": session.listener.getsockname()[1],
                "session": session.token.hex(),
                "size": session.size,
                "stored": os.stat(path).st_blocks * 512,
            }
            fields, body = [], json.dumps(offer).encode()
        fields += ["ETag: " + tag, "Content-Length: %d" % len(body)]
        return "\r\n".join(["HTTP/1.1 200 OK"] + fields + ["", ""]).encode() + body

    def stream(self, session, stream, shown=None):
        shown = shown or read_exactly(stream, 28)
        mark, version, flags, token, max_block = struct.unpack(">BBBx16sI", shown[:24])
        if mark != 0xFF or not is_sealed(shown) or token != session.token:
            return
        if version != 2:
            return stream.sendall(error_block(3, b"version 2 only"))
        session.streams.append(stream)
        while True:
            message = read_exactly(stream, 24)
            kind, more, size, crc, offset, length = struct.unpack(REQUEST, message[:20])
            if is_sealed(message) and kind == FINISHED:
                return self.end(session)
            if is_sealed(message) and kind == IDLE and size == 0:
                continue
            good = is_sealed(message) and kind == RANGE and 1 <= length <= 1 << 20
            # The rest is a hash or nothing: no file of this server has a name.
            good = good and size == (16 if more & HASHED else 0)
            rest = read_exactly(stream, size) if good else b""
            if not good or crc32c(rest) != crc or offset + length > session.size:
                return stream.sendall(error_block(4, b"no such range"))
            stream.sendall(wait_block() if offset == 0 else b"")
            end = offset + length
            if rest and hash_of(os.pread(session.file.fileno(), length, offset)) == rest:
                stream.sendall(same_block(offset, length))
                continue
            while offset < end:
                offset = self.block(session, stream, flags, offset, end, min(self.cut, max_block))

    def block(self, session, stream, flags, offset, end, most):
        """Sends the next block of a request, and answers where it ended."""
        descriptor = session.file.fileno()
        try:
            data = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError:
            data = session.size  # nothing is stored from here on
        if data > offset and data >= min(end, offset + 512):
            stop = min(data, end)
            stream.sendall(hole_block(offset, stop - offset, data - offset))
            return stop
        with self.lock:
            self.sent += 1
            fault = self.fault(self.sent)
        if fault == "broken":
            raise OSError
        if fault == "unreadable":
            stream.sendall(error_block(2, b"the file cannot be read"))
            stream.shutdown(socket.SHUT_WR)
            while stream.recv(4096):
                pass
            self.end(session)
            raise OSError
        payload = os.pread(descriptor, min(end - offset, most), offset)
        crc = 0 if flags & UNCHECKED else crc32c(payload)
        stream.sendall(data_block(offset, payload, crc ^ (fault == "damaged")))
        return offset + len(payload)

    def end(self, session):
        with self.lock:
            self.finished += not session.over
            session.over = True
        self.sessions.pop(session.token, None)
        session.listener.close()
        for stream in session.streams:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.close()


# --- What they say to the real programs ----------------------------------------------------------


def make_files(folder):
    """Files without and with holes; short holes and short data too, which are no blocks of their own."""
    source = random.Random(1)
    contents = {"plain": [(0, 300001)], "tiny": [(0, 10)], "empty": []}
    contents["a b%"] = [(0, 5000)]
    contents["holes"] = [(5000, 100), (200000, 9000), (9 << 20, 300), ((12 << 20) - 7, 7)]
    for name, parts in contents.items():
        with open(os.path.join(folder, name), "wb") as file:
            for offset, length in parts:
                file.seek(offset)
                file.write(bytes(source.getrandbits(8) for _ in range(length)))
    with open(os.path.join(folder, "nothing"), "wb") as file:
        file.truncate(3 << 20)
    return list(contents) + ["nothing"]


def same(one, other):
    with open(one, "rb") as left, open(other, "rb") as right:
        return left.read() == right.read()


def check_client(programs, files):
    words = [programs + "/server", "0", "-q", "--root", "served", "--bind", "127.0.0.1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as program:
        port = int(program.stdout.readline().rsplit(b":", 1)[1])
        try:
            for name in files:
                for streams, flags, single in [(1, 0, 0), (4, 0, 0), (3, 1, 0), (2, 0, 1)]:
                    path = urllib.parse.quote(name)
                    client = Client(("127.0.0.1", port), path, "out", streams, flags, single)
                    client.finish(client.fetch())
                    assert same("served/" + name, "out"), name
                    found = os.stat("served/" + name)  # some file systems keep no holes
                    if found.st_blocks * 512 < found.st_size and name in ("holes", "nothing"):
                        assert client.holes > 0
            # An older file, of which one piece differs, and which is shorter.
            with open("served/plain", "rb") as file:
                older = bytearray(file.read(3 * UNIT))
            older[UNIT] ^= 1
            client = Client(("127.0.0.1", port), "plain", "out", 2, older=bytes(older))
            client.finish(client.fetch())
            assert same("served/plain", "out") and client.kept == 2
            # Two pieces, then another session for the rest.
            client = Client(("127.0.0.1", port), "plain", "out", 1)
            client.fetch(most=2)[0].close()
            client.begin_session()
            client.finish(client.fetch())
            assert same("served/plain", "out")
        finally:
            program.terminate()


def make_tree(folder):
    """Files of several sizes in several folders, a link, and a folder of several pages."""
    for name in ["", "empty", "sub", "sub/deep", "many"]:
        os.mkdir(os.path.join(folder, name))
    for number in range(500):
        with open("%s/many/%d" % (folder, number), "w") as file:
            file.write("x" * number)
    for name, size in [("a", 1), ("none", 0), ("sub/large", 300001), ("sub/deep/b", 70000)]:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(os.urandom(size))
    with open(folder + "/sub/hole", "wb") as file:
        file.truncate(1 << 20)
    os.symlink("../a", folder + "/sub/link")
    os.chmod(folder + "/a", 0o4751)
    os.utime(folder + "/a", ns=(0, -1))
    os.utime(folder, ns=(0, 1700000000123456789))


def check_entry(path, entry, content):
    found = os.lstat(path)
    stamp = entry["mtime_s"] * 10**9 + entry["mtime_ns"]
    assert (stamp, entry["mode"]) == (found.st_mtime_ns, found.st_mode & 0o7777), path
    assert (entry["uid"], entry["gid"], entry["tag"]) == (found.st_uid, found.st_gid, 0), path
    if entry["type"] == LINK:
        assert entry["text"] == os.fsencode(os.readlink(path)), path
    elif entry["type"] == FILE:
        with open(path, "rb") as file:
            assert file.read() == content, path
        assert (entry["size"], entry["stored"]) == (found.st_size, found.st_blocks * 512), path
    else:
        assert entry["type"] == FOLDER and os.path.isdir(path), path


def check_tree(programs):
    os.mkdir("trees")
    make_tree("trees/top")
    expected = {
        os.path.relpath(os.path.join(folder, name), "trees/top").encode()
        for folder, folders, files in os.walk("trees/top")
        for name in folders + files
    }
    words = [programs + "/server", "0", "-q", "--root", "trees", "--bind", "127.0.0.1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as program:
        port = int(program.stdout.readline().rsplit(b":", 1)[1])
        try:
            client = TreeClient(("127.0.0.1", port), "top")
            found = os.stat("trees/top")
            stamp = client.offer["mtime_s"] * 10**9 + client.offer["mtime_ns"]
            assert (stamp, client.offer["mode"]) == (found.st_mtime_ns, found.st_mode & 0o7777)
            names = {}
            for name, entry, content in client.walk():
                assert name not in names
                names[name] = entry
                check_entry(os.path.join(b"trees/top", name), entry, content)
                if content:
                    assert client.md5(name, entry) == hashlib.md5(content).digest(), name
            assert set(names) == expected
            assert client.refusal(b"nothing", bytes(16)) == (1, b"")
            assert client.refusal(b"sub", bytes(16)) == (4, b"")
            code, payload = client.refusal(b"a", bytes(16))
            assert code == 3 and list(entries(payload)) == [names[b"a"]]
            client.stream.sendall(finished())
            wish = json.dumps({"threads": 1, "protocol": 2}).encode()
            assert converse(("127.0.0.1", port), "POST", "top", [], wish)[0].status == 404
        finally:
            program.terminate()


def run_client(programs, server, streams, name, *options):
    words = [programs + "/client", *options, "127.0.0.1:%d" % server.port, streams, name, "got"]
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)


def check_server(programs, files):
    def good(server, streams, name, *options):
        ran = run_client(programs, server, streams, name, *options)
        assert ran.returncode == 0 and same("served/" + name, "got"), (name, ran)
        os.remove("got")
        return ran.stdout.decode()

    for name in files:
        for streams in ["1", "4", "auto"]:
            good(Server("served"), streams, name)
        good(Server("served", cut=700), "4", name)
        good(Server("served"), "2", name, "--single-port")
        good(Server("served"), "2", name, "--verify", "none")
    fault = lambda kind: lambda number: kind if number == 2 else None
    good(Server("served", fault=fault("damaged")), "1", "plain")
    assert "1 reconnect" in good(Server("served", fault=fault("broken")), "1", "plain")
    server = Server("served", fault=fault("unreadable"))
    assert run_client(programs, server, "1", "plain").returncode == 4
    assert "resumed at" in good(server, "1", "plain")


def main():
    programs = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.mkdir("served")
        files = make_files("served")
        check_client(programs, files)
        check_tree(programs)
        check_server(programs, files)
        os.chdir("/")


main()
