"""An HTTP/1.1 target with the library that comes with Python.

`GET /bytes/N` answers with N bytes, `GET /chunks/N` with as many in chunks, `GET /hints/N` says
before that what a page will need, `GET /status/N` answers with a status, and `PUT` and `POST` with the number of bytes that came and their digest. Prints its port
and serves until it is ended.
"""

import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PART = b"0123456789abcdef" * 1024


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536

    def handle_expect_100(self):
        told = super().handle_expect_100()
        self.wfile.flush()
        return told

    def number(self):
        return int(self.path.rsplit("/", 1)[1])

    def parts(self):
        left = self.number()
        while left > 0:
            part = PART[: min(left, len(PART))]
            left -= len(part)
            yield part

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", str(self.number()))
        self.end_headers()

    def do_GET(self):
        if self.path.startswith("/status/"):
            return self.answer(self.number(), b"said so\n")
        if self.path.startswith("/hints/"):
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </page.css>; rel=preload\r\n\r\n")
            self.wfile.flush()
        self.send_response(200)
        chunked = self.path.startswith("/chunks/")
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(self.number()))
        self.end_headers()
        for part in self.parts():
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def do_POST(self):
        length, digest = 0, hashlib.sha256()
        for part in self.content():
            length += len(part)
            digest.update(part)
        self.answer(200, b"%d %s\n" % (length, digest.hexdigest().encode()))

    do_PUT = do_POST

    def content(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            left = int(self.headers.get("Content-Length", "0"))
            while left > 0:
                part = self.rfile.read(min(left, 65536))
                left -= len(part)
                yield part
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """Takes many connections at once: the library's own backlog is five, and a client whose SYN
    finds it full waits a second, then two."""

    daemon_threads = True
    request_queue_size = 512


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
