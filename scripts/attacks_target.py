"""The target behind Tidegate while `scripts/attacks.sh` runs: attacks_target.py PORT.

`GET /large` answers with 64 MiB, which no buffer between it and a client that reads nothing holds;
anything else is answered 200 once its body was read.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PART = b"0123456789abcdef" * 4096
LARGE = 64 * 1024 * 1024


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        large = self.path == "/large"
        self.send_response(200)
        self.send_header("Content-Length", str(LARGE if large else 2))
        self.end_headers()
        if not large:
            return self.wfile.write(b"ok")
        for _ in range(LARGE // len(PART)):
            self.wfile.write(PART)

    def do_POST(self):
        if self.headers.get("Transfer-Encoding"):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                self.rfile.read(size + 2)
            while self.rfile.readline().strip():
                pass
        else:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.do_GET()

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            # An attack that was cut by the proxy is cut here, too.
            self.close_connection = True

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
