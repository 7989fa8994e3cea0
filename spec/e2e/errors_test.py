#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Errors and metadata over gRPC: codes, texts, details, both ways."""

import grpc
import harness
from harness import SERVICES, SLOW

faults_pb, faults_rpc = harness.stubs(SERVICES / "faults/proto/faults.proto")
probe_pb, probe_rpc = harness.stubs(SERVICES / "probe/proto/probe.proto")
status_pb, _ = harness.stubs(harness.ROOT / "spec/e2e/proto/rpc_status.proto")


def violations(err):
    """The google.rpc.BadRequest in grpc-status-details-bin, as a dict."""
    value = dict(err.trailing_metadata())["grpc-status-details-bin"]
    status = status_pb.Status.FromString(value)
    assert status.code == err.code().value[0] and status.message == err.details(), status
    found = {}
    for detail in status.details:
        bad = status_pb.BadRequest()
        if detail.Unpack(bad):
            found.update((v.field, v.description) for v in bad.field_violations)
    return found


class Errors(harness.Case):
    services = [SERVICES / "faults", SERVICES / "probe"]

    def setUp(self):
        self.channel = self.server.channel()
        self.faults, self.probe = faults_rpc.FaultsStub(self.channel), probe_rpc.ProbeStub(self.channel)

    def tearDown(self):
        self.channel.close()

    def test_every_code(self):
        for code in grpc.StatusCode:
            if code is grpc.StatusCode.OK:
                continue
            with self.subTest(code=code.name):
                err = self.assert_rpc_error(code, self.faults.Fail,
                                            faults_pb.FailRequest(code=code.name, message=f"as asked: {code.name}"))
                self.assertEqual(err.details(), f"as asked: {code.name}")

    def test_text_in_any_script(self):
        for text in ("fünf % Rabatt", "日本語", "line\nbreak\ttab", "50% \"quoted\"", ""):
            with self.subTest(text=text):
                err = self.assert_rpc_error(grpc.StatusCode.ABORTED, self.faults.Fail,
                                            faults_pb.FailRequest(code="ABORTED", message=text))
                self.assertEqual(err.details(), text)

    def test_invalid_fields(self):
        err = self.assert_rpc_error(grpc.StatusCode.INVALID_ARGUMENT, self.faults.Fields, faults_pb.Empty())
        self.assertEqual(violations(err), {"title": "is required", "size": "must be positive"})

    def test_validate_reports_all_faults_at_once(self):
        err = self.assert_rpc_error(grpc.StatusCode.INVALID_ARGUMENT, self.faults.Validated,
                                    faults_pb.ValidatedRequest(size=11))
        self.assertEqual(sorted(violations(err)), ["size", "title"])
        answer = self.faults.Validated(faults_pb.ValidatedRequest(title="t", size=5), timeout=10 * SLOW)
        self.assertEqual(answer.text, "t")

    def test_metadata_both_ways(self):
        metadata = (("x-one", "1"), ("x-many", "a"), ("x-many", "b"), ("x-raw-bin", b"\x00\xff\n"))
        answer, call = self.probe.Metadata.with_call(probe_pb.Empty(), metadata=metadata, timeout=10 * SLOW)
        self.assertEqual(answer.text, "1|a+b|3")
        head, tail = dict(call.initial_metadata()), dict(call.trailing_metadata())
        self.assertEqual((head["x-head"], head["x-blob-bin"], tail["x-tail"]), ("first", b"\x00\x01\xff", "last"))

    def test_stream_ends_with_an_error(self):
        got = []
        with self.assertRaises(grpc.RpcError) as caught:
            for number in self.probe.Some(probe_pb.Number(n=3), timeout=10 * SLOW):
                got.append(number.n)
        self.assertEqual((got, caught.exception.code()), ([1, 2, 3], grpc.StatusCode.FAILED_PRECONDITION))
        self.assertEqual(caught.exception.details(), "that was number 3")

    def test_client_stream(self):
        numbers = (probe_pb.Number(n=i) for i in range(1001))
        self.assertEqual(self.probe.Sum(numbers, timeout=10 * SLOW).n, 500500)

    def test_who(self):
        answer = self.probe.Who(probe_pb.Empty(), timeout=10 * SLOW)
        self.assertEqual((answer.service, answer.endpoint, answer.namespace), ("probe", "Probe.Who", "mica"))
        self.assertTrue(answer.peer.startswith("127.0.0.1"), answer.peer)


if __name__ == "__main__":
    harness.main()
