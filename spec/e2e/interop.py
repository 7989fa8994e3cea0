# SPDX-License-Identifier: Apache-2.0
"""The cases of gRPC's interoperability test descriptions that need no cloud credentials, against a TestService anywhere.

    class Plain(interop.PythonCases, harness.Case):
        services = [interop.SERVICE]
        @classmethod
        def target(cls):
            return interop.Target(cls.server.proxy)

PythonCases has them with python3-grpcio, FrameCases the four compressed ones on raw frames, NodeCases those that
@grpc/grpc-js ran (node/interop.js). A Target with `ca`, a file of certificates, is reached by TLS.
"""

import ssl
import subprocess
import time

import grpc

import harness
import raw_http2

SERVICE = harness.EXAMPLES / "interop"
PROTO = SERVICE / "proto/interop.proto"
pb, rpc = harness.stubs(PROTO)
PATH = "/grpc.testing.TestService/"
CASES = ["empty_unary", "large_unary", "client_compressed_unary", "server_compressed_unary", "client_streaming",
         "client_compressed_streaming", "server_streaming", "server_compressed_streaming", "ping_pong", "empty_stream",
         "timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "custom_metadata",
         "status_code_and_message", "special_status_message", "unimplemented_method", "unimplemented_service"]
SENT, ANSWERED = [27182, 8, 1828, 45904], [31415, 9, 2653, 58979]
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001F608\t\n"
TRUE, FALSE = pb.BoolValue(value=True), pb.BoolValue(value=False)


class Target:
    def __init__(self, address, ca=None):
        self.address, self.ca = address, ca

    def channel(self):
        settings = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        if self.ca is None:
            channel = grpc.insecure_channel(self.address, options=settings)
        else:
            with open(self.ca, "rb") as file:
                channel = grpc.secure_channel(self.address, grpc.ssl_channel_credentials(file.read()), options=settings)
        grpc.channel_ready_future(channel).result(20 * harness.SLOW)
        return channel

    def frames(self):
        context = None
        if self.ca is not None:
            context = ssl.create_default_context(cafile=self.ca)
            context.set_alpn_protocols(["h2"])
        return raw_http2.connect(self.address, context)


def payload(size):
    return pb.Payload(body=bytes(size))


def simple(**fields):
    return pb.SimpleRequest(response_size=314159, payload=payload(271828), **fields)


def asked(*sizes, **fields):
    return pb.StreamingOutputCallRequest(response_parameters=[pb.ResponseParameters(size=size) for size in sizes], **fields)


class PythonCases:
    """With python3-grpcio."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.begin()

    @classmethod
    def begin(cls):
        cls.channel = cls.target().channel()
        cls.stub = rpc.TestServiceStub(cls.channel)

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        super().tearDownClass()

    def test_empty_unary(self):
        self.assertEqual(self.stub.EmptyCall(pb.Empty()), pb.Empty())

    def test_large_unary(self):
        self.assertEqual(self.stub.UnaryCall(simple()).payload, payload(314159))

    def test_client_compressed_unary(self):
        # The probe: it says that it is compressed, and is not.
        self.assert_rpc_error(grpc.StatusCode.INVALID_ARGUMENT, self.stub.UnaryCall, simple(expect_compressed=TRUE))
        got = self.stub.UnaryCall(simple(expect_compressed=TRUE), compression=grpc.Compression.Gzip)
        self.assertEqual(got.payload, payload(314159))
        self.assertEqual(self.stub.UnaryCall(simple(expect_compressed=FALSE)).payload, payload(314159))

    def test_server_compressed_unary(self):
        for compressed in TRUE, FALSE:  # that it is, FrameCases look at
            self.assertEqual(self.stub.UnaryCall(simple(response_compressed=compressed)).payload, payload(314159))

    def test_client_streaming(self):
        got = self.stub.StreamingInputCall(pb.StreamingInputCallRequest(payload=payload(size)) for size in SENT)
        self.assertEqual(got.aggregated_payload_size, 74922)

    def test_client_compressed_streaming(self):
        def requests(*items):
            return (pb.StreamingInputCallRequest(expect_compressed=c, payload=payload(size)) for c, size in items)
        self.assert_rpc_error(grpc.StatusCode.INVALID_ARGUMENT, self.stub.StreamingInputCall, requests((TRUE, 27182)))
        got = self.stub.StreamingInputCall(requests((TRUE, 27182), (TRUE, 45904)), compression=grpc.Compression.Gzip)
        self.assertEqual(got.aggregated_payload_size, 73086)

    def test_server_streaming(self):
        got = [answer.payload for answer in self.stub.StreamingOutputCall(asked(*ANSWERED))]
        self.assertEqual(got, [payload(size) for size in ANSWERED])

    def test_server_compressed_streaming(self):
        request = pb.StreamingOutputCallRequest(response_parameters=[
            pb.ResponseParameters(compressed=TRUE, size=31415), pb.ResponseParameters(compressed=FALSE, size=92653)])
        got = [len(answer.payload.body) for answer in self.stub.StreamingOutputCall(request)]
        self.assertEqual(got, [31415, 92653])

    def test_ping_pong(self):
        with Pipe() as pipe:
            stream = self.stub.FullDuplexCall(pipe)
            for sent, answered in zip(SENT, ANSWERED):
                pipe.put(asked(answered, payload=payload(sent)))
                self.assertEqual(next(stream).payload, payload(answered))
            pipe.close()
            self.assertEqual(list(stream), [])

    def test_empty_stream(self):
        self.assertEqual(list(self.stub.FullDuplexCall(iter(()))), [])

    def test_timeout_on_sleeping_server(self):
        with Pipe() as pipe:
            stream = self.stub.FullDuplexCall(pipe, timeout=0.001)
            pipe.put(pb.StreamingOutputCallRequest(payload=payload(27182)))
            with self.assertRaises(grpc.RpcError) as caught:
                next(stream)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)

    def test_cancel_after_begin(self):
        with Pipe() as pipe:
            future = self.stub.StreamingInputCall.future(pipe)
            future.cancel()
            self.assertEqual(future.code(), grpc.StatusCode.CANCELLED)

    def test_cancel_after_first_response(self):
        with Pipe() as pipe:
            stream = self.stub.FullDuplexCall(pipe)
            pipe.put(asked(31415, payload=payload(27182)))
            self.assertEqual(next(stream).payload, payload(31415))
            stream.cancel()
            with self.assertRaises(grpc.RpcError):
                next(stream)
            self.assertEqual(stream.code(), grpc.StatusCode.CANCELLED)

    def test_custom_metadata(self):
        sent = (("x-grpc-test-echo-initial", "test_initial_metadata_value"),
                ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab"))
        _, call = self.stub.UnaryCall.with_call(simple(), metadata=sent)
        self.assertIn(sent[0], tuple(call.initial_metadata()))
        self.assertIn(sent[1], tuple(call.trailing_metadata()))
        stream = self.stub.FullDuplexCall(iter([asked(314159, payload=payload(271828))]), metadata=sent)
        self.assertEqual([answer.payload for answer in stream], [payload(314159)])
        self.assertIn(sent[0], tuple(stream.initial_metadata()))
        self.assertIn(sent[1], tuple(stream.trailing_metadata()))

    def check_status(self, code, text):
        status = pb.EchoStatus(code=code.value[0], message=text)
        error = self.assert_rpc_error(code, self.stub.UnaryCall, pb.SimpleRequest(response_status=status))
        self.assertEqual(error.details(), text)
        requests = iter([pb.StreamingOutputCallRequest(response_status=status)])
        error = self.assert_rpc_error(code, self.stub.FullDuplexCall, requests)
        self.assertEqual(error.details(), text)

    def test_status_code_and_message(self):
        self.check_status(grpc.StatusCode.UNKNOWN, "test status message")

    def test_special_status_message(self):
        self.check_status(grpc.StatusCode.UNKNOWN, SPECIAL)

    def test_unimplemented_method(self):
        self.assert_rpc_error(grpc.StatusCode.UNIMPLEMENTED, self.stub.UnimplementedCall, pb.Empty())

    def test_unimplemented_service(self):
        other = rpc.UnimplementedServiceStub(self.channel)
        self.assert_rpc_error(grpc.StatusCode.UNIMPLEMENTED, other.UnimplementedCall, pb.Empty())


class Pipe:
    """An iterator of requests that a test feeds."""

    def __init__(self):
        self.items = raw_http2.queue.Queue()

    def put(self, item):
        self.items.put(item)

    def close(self):
        self.items.put(None)

    def __iter__(self):
        return self

    def __next__(self):
        item = self.items.get()
        if item is None:
            raise StopIteration
        return item

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class FrameCases:
    """The compressed cases on frames: what is flagged, and what is not."""

    def test_frames_client_compressed_unary(self):
        with self.target().frames() as c:
            ok = simple(expect_compressed=TRUE).SerializeToString()
            probe = c.call(PATH + "UnaryCall", ok, fields=[("grpc-encoding", "gzip")])
            self.assertEqual((probe.status, len(probe.data)), (3, 0))
            got = c.call(PATH + "UnaryCall", ok, compressed=True, fields=[("grpc-encoding", "gzip")])
            self.assertEqual(got.status, 0)
            got = c.call(PATH + "UnaryCall", simple(expect_compressed=FALSE).SerializeToString())
            self.assertEqual(got.status, 0)

    def test_frames_server_compressed_unary(self):
        accept = [("grpc-accept-encoding", "identity,deflate,gzip")]
        with self.target().frames() as c:
            for fields, wanted, flagged in (accept, TRUE, True), (accept, FALSE, False), ([], TRUE, False):
                got = c.call(PATH + "UnaryCall", simple(response_compressed=wanted).SerializeToString(), fields=fields)
                self.assertEqual(got.status, 0)
                self.assertEqual(got.header("grpc-encoding"), "gzip" if flagged else None)
                self.assertEqual([m.compressed for m in got.messages], [flagged])
                self.assertEqual(pb.SimpleResponse.FromString(got.messages[0].body).payload, payload(314159))
                self.assertLess(len(got.data), 5000 if flagged else 320000)

    def test_frames_client_compressed_streaming(self):
        def item(size, expected):
            return pb.StreamingInputCallRequest(payload=payload(size), expect_compressed=expected).SerializeToString()
        with self.target().frames() as c:
            sid = c.request(PATH + "StreamingInputCall", [("grpc-encoding", "gzip")])
            c.send(sid, item(27182, TRUE), compressed=False)
            self.assertEqual(c.answer(sid).status, 3)
            sid = c.request(PATH + "StreamingInputCall", [("grpc-encoding", "gzip")])
            c.send(sid, item(27182, TRUE), compressed=True)
            c.send(sid, item(45904, FALSE), compressed=False, end=True)
            got = c.answer(sid)
            self.assertEqual(got.status, 0)
            self.assertEqual(pb.StreamingInputCallResponse.FromString(got.messages[0].body).aggregated_payload_size, 73086)

    def test_frames_server_compressed_streaming(self):
        for flags in (True, False), (False, True):
            request = pb.StreamingOutputCallRequest(response_parameters=[
                pb.ResponseParameters(compressed=pb.BoolValue(value=flags[0]), size=31415),
                pb.ResponseParameters(compressed=pb.BoolValue(value=flags[1]), size=92653)])
            with self.target().frames() as c:
                got = c.call(PATH + "StreamingOutputCall", request.SerializeToString(),
                             fields=[("grpc-accept-encoding", "gzip, identity")])
                self.assertEqual(got.status, 0)
                self.assertEqual(got.header("grpc-encoding"), "gzip")
                self.assertEqual([m.compressed for m in got.messages], list(flags))
                sizes = [len(pb.StreamingOutputCallResponse.FromString(m.body).payload.body) for m in got.messages]
                self.assertEqual(sizes, [31415, 92653])


class NodeCases:
    """With @grpc/grpc-js, all in one process; a case is a line "ok NAME" or "not ok NAME TEXT"."""

    def test_node(self):
        target = self.target()
        command = ["node", str(harness.ROOT / "spec/e2e/node/interop.js"), target.address, str(PROTO)]
        if target.ca is not None:
            command.append(str(target.ca))
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 * harness.SLOW)
        said = dict(line.split(" ", 1)[::-1] if line.startswith("ok ") else (line, "") for line in done.stdout.splitlines())
        for case in CASES:
            with self.subTest(case=case):
                self.assertIn(case, said, f"{done.stdout}{done.stderr} after {time.monotonic() - began:.1f} s")
