"""A gRPC client that tries every kind of call, and ends with a sentence on the first wrong thing.

    grpc_client.py HOST:PORT [CERTIFICATE [CHECK...]]

With a certificate, over TLS to a server that is called localhost. With names of checks, these alone.
"""

import sys
import time

import grpc

SERVICE = "/tidegate.test.Echo/"
PATIENCE = 60
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.ssl_target_name_override", "localhost"),
]


class Wrong(Exception):
    """Something is not as it should be."""


def expect(what, wanted, found):
    if wanted != found:
        raise Wrong(f"{what}: wanted {wanted!r:.200}, found {found!r:.200}")


def failure(call):
    """The error that a call ends with."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return error
    raise Wrong(f"wanted an error, got {answer!r:.200}")


class Echo:
    """The service's methods on one channel."""

    def __init__(self, channel):
        self.once = channel.unary_unary(SERVICE + "Once")
        self.collect = channel.stream_unary(SERVICE + "Collect")
        self.spread = channel.unary_stream(SERVICE + "Spread")
        self.chat = channel.stream_stream(SERVICE + "Chat")
        self.refuse = channel.unary_unary(SERVICE + "Refuse")
        self.break_off = channel.unary_stream(SERVICE + "BreakOff")
        self.fail = channel.unary_unary(SERVICE + "Fail")
        self.fail_late = channel.unary_stream(SERVICE + "FailLate")
        self.remaining = channel.unary_unary(SERVICE + "Remaining")
        self.linger = channel.unary_unary(SERVICE + "Linger")
        self.drip = channel.unary_stream(SERVICE + "Drip")
        self.gone = channel.unary_unary(SERVICE + "Gone")
        self.unknown = channel.unary_unary(SERVICE + "Unknown")


def unary(echo):
    expect("the answer", b"hello", echo.once(b"hello", timeout=PATIENCE))
    expect("an empty answer", b"", echo.once(b"", timeout=PATIENCE))


def metadata_and_trailers(echo):
    told = [("x-word", "spoken"), ("x-word-bin", b"\x00\x01\xfe\xff")]
    answer, call = echo.once.with_call(b"hello", metadata=told, timeout=PATIENCE)
    expect("the answer", b"hello", answer)
    expect("the status", grpc.StatusCode.OK, call.code())
    expect("metadata in front", "spoken", dict(call.initial_metadata()).get("x-first"))
    trailers = dict(call.trailing_metadata())
    expect("a trailer", "spoken", trailers.get("x-last"))
    expect("a trailer of bytes", b"\x00\x01\xfe\xff", trailers.get("x-last-bin"))


def client_stream(echo):
    messages = (b"x" * size for size in range(500))
    expect("the sum", b"500 of 124750", echo.collect(messages, timeout=PATIENCE))
    expect("the sum of nothing", b"0 of 0", echo.collect(iter(()), timeout=PATIENCE))


def server_stream(echo):
    wanted = [b"%d" % number for number in range(500)]
    expect("the messages", wanted, list(echo.spread(b"500", timeout=PATIENCE)))
    expect("no messages", [], list(echo.spread(b"0", timeout=PATIENCE)))


def both_streams(echo):
    """Each message waits for the answer to the one before, so nothing may be held back."""
    answers = []

    def messages():
        for number in range(100):
            while len(answers) < number:
                time.sleep(0.001)
            yield b"word %d" % number

    for answer in echo.chat(messages(), timeout=PATIENCE):
        answers.append(answer)
    expect("the answers", [b"WORD %d" % number for number in range(100)], answers)


def four_mebibytes(echo):
    large = bytes(range(256)) * (4 * 1024 * 4)
    expect("the size", 4 * 1024 * 1024, len(large))
    if echo.once(large, timeout=PATIENCE) != large:
        raise Wrong("a message of 4 MiB came back changed")
    expect("the sum", b"8 of 33554432", echo.collect(iter([large] * 8), timeout=PATIENCE))


def trailers_alone(echo):
    error = failure(lambda: echo.refuse(b"", timeout=PATIENCE))
    expect("the status", grpc.StatusCode.NOT_FOUND, error.code())
    expect("the message", "there is no such thing: ä", error.details())
    expect("a trailer", "because", dict(error.trailing_metadata()).get("x-why"))


def unknown_method(echo):
    error = failure(lambda: echo.unknown(b"", timeout=PATIENCE))
    expect("the status", grpc.StatusCode.UNIMPLEMENTED, error.code())


def error_behind_messages(echo):
    got = []
    call = echo.break_off(b"", timeout=PATIENCE)
    error = failure(lambda: got.extend(call))
    expect("the messages before", [b"0", b"1", b"2"], got)
    expect("the status", grpc.StatusCode.RESOURCE_EXHAUSTED, error.code())
    expect("the message", "three are enough", error.details())


def deadline(echo):
    expect("without a deadline", b"none", echo.remaining(b""))
    left = int(echo.remaining(b"", timeout=10))
    # The header is rounded up.
    if not 5_000 < left <= 11_000:
        raise Wrong(f"of a deadline of 10 s the target sees {left} ms")
    before = int(echo.gone(b"", timeout=PATIENCE))
    began = time.monotonic()
    error = failure(lambda: echo.linger(b"", timeout=0.5))
    took = time.monotonic() - began
    expect("the status", grpc.StatusCode.DEADLINE_EXCEEDED, error.code())
    if not 0.4 < took < 10:
        raise Wrong(f"a deadline of 0.5 s took {took:.1f} s")
    target_notices(echo, before)


def cancel(echo):
    before = int(echo.gone(b"", timeout=PATIENCE))
    call = echo.drip(b"", timeout=PATIENCE)
    expect("the first message", b"first", next(call))
    call.cancel()
    error = failure(lambda: next(call))
    expect("the status", grpc.StatusCode.CANCELLED, error.code())
    target_notices(echo, before)


def target_notices(echo, before):
    """The end of a call has to reach the target long before it would end by itself."""
    until = time.monotonic() + 20
    while int(echo.gone(b"", timeout=PATIENCE)) != before + 1:
        if time.monotonic() > until:
            raise Wrong("the target never learned that its client is gone")
        time.sleep(0.02)


def many_at_once(echo):
    calls = [echo.once.future(b"%d" % number, timeout=PATIENCE) for number in range(500)]
    answers = [call.result() for call in calls]
    expect("the answers", [b"%d" % number for number in range(500)], answers)


def faults_of_the_target(echo):
    """Five of them, each with a good call behind it."""
    for _ in range(3):
        error = failure(lambda: echo.fail(b"", timeout=PATIENCE))
        expect("the status", grpc.StatusCode.INTERNAL, error.code())
        expect("the message", "it is broken", error.details())
        unary_once(echo)
    for _ in range(2):
        got = []
        call = echo.fail_late(b"", timeout=PATIENCE)
        error = failure(lambda: got.extend(call))
        expect("the message before", [b"0"], got)
        expect("the status", grpc.StatusCode.UNAVAILABLE, error.code())
        expect("the message", "it has broken", error.details())
        unary_once(echo)


def unary_once(echo):
    expect("the answer", b"hello", echo.once(b"hello", timeout=PATIENCE))


def no_target(echo):
    error = failure(lambda: echo.once(b"hello", timeout=PATIENCE))
    expect("the status", grpc.StatusCode.UNAVAILABLE, error.code())


CHECKS = [
    unary,
    metadata_and_trailers,
    client_stream,
    server_stream,
    both_streams,
    four_mebibytes,
    trailers_alone,
    unknown_method,
    error_behind_messages,
    deadline,
    cancel,
    many_at_once,
    unary,
]


NAMED = {check.__name__: check for check in [*CHECKS, faults_of_the_target, no_target]}


def main(address, certificate="", *names):
    if not certificate:
        channel = grpc.insecure_channel(address, options=OPTIONS)
    else:
        with open(certificate, "rb") as file:
            trusted = grpc.ssl_channel_credentials(file.read())
        channel = grpc.secure_channel(address, trusted, options=OPTIONS)
    with channel:
        echo = Echo(channel)
        for check in [NAMED[name] for name in names] or CHECKS:
            try:
                check(echo)
            except (Wrong, grpc.RpcError) as wrong:
                print(f"{check.__name__}: {wrong}", flush=True)
                return 1
            print(f"{check.__name__}: good", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
