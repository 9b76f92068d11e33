"""ClickHouse for tests: the real engine behind a small HTTP front.

    clickhouse PORT DIRECTORY USER PASSWORD

The engine is ClickHouse itself, as the library `chdb-core`: it parses and runs every statement, decodes what is inserted,
and keeps it in MergeTree tables in DIRECTORY. Only this front is a stand-in for the server around it. It speaks the part
of the HTTP interface that the collector's exporter and the tests use: one user with HTTP basic authentication, the
statement in the body or in `query`, blocks with LZ4 and checksum, Native blocks of a client's protocol version, errors
with the server's status and text. What it does not know it refuses by name, rather than pass over it.
"""

import base64
import hmac
import http.server
import json
import os
import re
import struct
import sys
import tempfile
import threading
import urllib.parse

import lz4.block
from chdb import session
from clickhouse_cityhash.cityhash import CityHash128

LZ4, UNCOMPRESSED = 0x82, 0x02
# Statuses that the server has for its error codes; any other code is 500.
STATUSES = {36: 400, 47: 400, 60: 404, 62: 400, 81: 404, 516: 403}
# Protocol versions in which each Native block has the header below and each column a mark; later headers are longer.
VERSIONS = range(54454, 54480)
BLOCK_HEADER = b"\x01\x00\x02\xff\xff\xff\xff\x00"
WIDTHS = {"UInt8": 1, "UInt16": 2, "UInt32": 4, "UInt64": 8}
# What a request may say about its statement.
PARAMETERS = {"query", "database", "default_format", "client_protocol_version", "compress", "decompress"}
# Settings without effect here. Inserts are stored before they are answered, which is also what `async_insert` means to a
# client that waits, as is the default; and no statement of a test comes near its time limit.
SETTINGS = {"async_insert", "max_execution_time"}


class Refused(Exception):
    """An answer that is an error: the server's code and text."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def checksum(block):
    """The 16 bytes before a compressed block: CityHash128 of the rest, whose first half the library gives as the high one."""
    value = CityHash128(block)
    return struct.pack("<QQ", value >> 64, value & (2**64 - 1))


def compressed(data):
    """One compressed block: checksum, method, both sizes, LZ4."""
    packed = lz4.block.compress(data, store_size=False)
    block = struct.pack("<BII", LZ4, len(packed) + 9, len(data)) + packed
    return checksum(block) + block


def decompressed(data):
    """The content of compressed blocks, one after the other."""
    content = b""
    while data:
        method, size, original = struct.unpack_from("<BII", data, 16)
        block, data, expected = data[16 : 16 + size], data[16 + size :], data[:16]
        if checksum(block) != expected:
            raise Refused(40, "Checksum doesn't match: corrupted data")
        if method == LZ4:
            content += lz4.block.decompress(block[9:], uncompressed_size=original)
        elif method == UNCOMPRESSED:
            content += block[9:]
        else:
            raise Refused(89, f"Unknown compression method {method:#x}: only LZ4 here")
    return content


class Native:
    """Reads what the engine writes as Native, to write it as a client of a protocol version expects it."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def text(self):
        return self.take(self.number())

    def with_marks(self):
        """The same blocks with the header of a block, and after each column's type that its encoding is the usual."""
        written = b""
        while self.at < len(self.data):
            begun = self.at
            columns, rows = self.number(), self.number()
            written += BLOCK_HEADER + self.data[begun : self.at]
            for _ in range(columns):
                begun = self.at
                self.text()
                kind = self.text().decode()
                written += self.data[begun : self.at] + b"\x00"
                begun = self.at
                if kind == "String":
                    for _ in range(rows):
                        self.text()
                elif kind in WIDTHS:
                    self.take(WIDTHS[kind] * rows)
                else:
                    raise Refused(48, f"Columns of type {kind} are not answered to native clients here")
                written += self.data[begun : self.at]
        return written


class Engine:
    """The engine, one statement at a time."""

    def __init__(self, directory):
        self.turn = threading.Lock()
        self.directory = directory
        self.session = session.Session(os.path.join(directory, "store"))

    def run(self, statement, body, database, format):
        """What the engine answers, as bytes. `body` is the data of an INSERT, in the format that it names."""
        with self.turn:
            try:
                self.session.query("USE `" + database.replace("`", "``") + "`")
                if body is None:
                    return bytes(self.session.query(statement, format).bytes())
                named = re.fullmatch(r"\s*(INSERT\s.*?)\s+FORMAT\s+(\w+)\s*", statement, re.DOTALL | re.IGNORECASE)
                if not named:
                    raise Refused(62, "Data without INSERT … FORMAT …")
                with tempfile.NamedTemporaryFile(dir=self.directory, suffix=".insert") as file:
                    file.write(body)
                    file.flush()
                    insert = f"{named[1]} FROM INFILE '{file.name}' FORMAT {named[2]}"
                    return bytes(self.session.query(insert, format).bytes())
            except RuntimeError as error:
                code = re.search(r"Code: (\d+)", str(error))
                raise Refused(int(code[1]) if code else 1000, str(error)) from None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Engine
    identity: str

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def result(self, body, asked):
        if not hmac.compare_digest(self.headers.get("Authorization", ""), self.identity):
            raise Refused(516, "Authentication failed: password is incorrect, or there is no user with such name.")
        if unknown := sorted(asked.keys() - PARAMETERS - SETTINGS):
            raise Refused(115, f"Settings that are not known here: {', '.join(unknown)}")
        if "query" in asked and body:
            statement, data = asked["query"], decompressed(body) if asked.get("decompress") == "1" else body
        else:
            statement, data = asked.get("query") or body.decode(), None
        format = asked.get("default_format", "TabSeparated")
        version = int(asked.get("client_protocol_version", 0)) if format == "Native" else 0
        if version and version not in VERSIONS:
            raise Refused(48, f"Native blocks of protocol version {version} are not written here")
        answer = self.engine.run(statement, data, asked.get("database") or "default", format)
        return Native(answer).with_marks() if version else answer

    def respond(self):
        # The whole request is read before it is judged, or what remains would be taken for the next one.
        body = self.body()
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query, keep_blank_values=True))
        try:
            status, code, answer = 200, None, self.result(body, asked)
        except Refused as refused:
            status, code, answer = STATUSES.get(refused.code, 500), refused.code, str(refused).encode()
        except Exception as error:  # A request that is no request must not end the server.
            status, code, answer = 500, 1002, f"{type(error).__name__}: {error}".encode()
        self.send_response(status)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", str(code))
            print(json.dumps({"code": code, "error": answer.decode()}), flush=True)
        # The server compresses errors too, except the refusal of a stranger, whose wishes it does not read.
        if answer and asked.get("compress") == "1" and code != 516:
            answer = compressed(answer)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = respond

    def log_message(self, *_):
        """Only errors are told."""


def main(port, directory, user, password):
    Handler.engine = Engine(directory)
    Handler.identity = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
