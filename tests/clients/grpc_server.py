"""A gRPC target, without generated code: messages are bytes.

    grpc_server.py [CERTIFICATE KEY]

Over cleartext HTTP/2, or over TLS with a certificate. Prints its port and serves until it is ended.
"""

import sys
import threading
from concurrent import futures

import grpc

SERVICE = "tidegate.test.Echo"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

# Seconds that no client waits; what the library says where there is no deadline.
NEVER = 1e9

cancelled = 0
lock = threading.Lock()


def hurried(context):
    """Counts a call whose client goes away or runs out of time, and says when that is."""
    gone = threading.Event()

    def note():
        global cancelled
        with lock:
            cancelled += 1
        gone.set()

    context.add_callback(note)
    return gone


def once(request, context):
    """Gives back the message; what came as metadata goes back at both ends of the answer."""
    told = dict(context.invocation_metadata())
    context.send_initial_metadata([("x-first", told.get("x-word", "nothing"))])
    context.set_trailing_metadata(
        [("x-last", told.get("x-word", "nothing")), ("x-last-bin", told.get("x-word-bin", b""))]
    )
    return request


def collect(requests, _context):
    """How many messages of how many bytes."""
    sizes = [len(request) for request in requests]
    return b"%d of %d" % (len(sizes), sum(sizes))


def spread(request, _context):
    """As many messages as are asked for."""
    for number in range(int(request)):
        yield b"%d" % number


def chat(requests, _context):
    """Answers each message as it comes."""
    for request in requests:
        yield request.upper()


def refuse(_request, context):
    """An error with nothing before it: trailers alone."""
    context.set_trailing_metadata([("x-why", "because")])
    context.abort(grpc.StatusCode.NOT_FOUND, "there is no such thing: ä")


def break_off(_request, context):
    """An error behind three messages."""
    for number in range(3):
        yield b"%d" % number
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "three are enough")


def fail(_request, context):
    """A fault of the server, with nothing before it: trailers alone."""
    context.abort(grpc.StatusCode.INTERNAL, "it is broken")


def fail_late(_request, context):
    """A fault of the server behind a message: the header says 200."""
    yield b"0"
    context.abort(grpc.StatusCode.UNAVAILABLE, "it has broken")


def remaining(_request, context):
    """The time that the client has left, in milliseconds."""
    left = context.time_remaining()
    return b"%d" % (left * 1000) if left and left < NEVER else b"none"


def linger(_request, context):
    """Does not answer while anybody waits."""
    hurried(context).wait(30)
    return b"too late"


def drip(_request, context):
    """A message, and then none while anybody waits."""
    gone = hurried(context)
    yield b"first"
    gone.wait(30)


def gone(_request, _context):
    """How many calls of the two above have ended."""
    with lock:
        return b"%d" % cancelled


def main(certificate=None, key=None):
    handlers = {
        "Once": grpc.unary_unary_rpc_method_handler(once),
        "Collect": grpc.stream_unary_rpc_method_handler(collect),
        "Spread": grpc.unary_stream_rpc_method_handler(spread),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
        "BreakOff": grpc.unary_stream_rpc_method_handler(break_off),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
        "Remaining": grpc.unary_unary_rpc_method_handler(remaining),
        "Linger": grpc.unary_unary_rpc_method_handler(linger),
        "Drip": grpc.unary_stream_rpc_method_handler(drip),
        "Gone": grpc.unary_unary_rpc_method_handler(gone),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=UNLIMITED)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        with open(certificate, "rb") as chain, open(key, "rb") as private:
            shown = grpc.ssl_server_credentials([(private.read(), chain.read())])
        port = server.add_secure_port("127.0.0.1:0", shown)
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
