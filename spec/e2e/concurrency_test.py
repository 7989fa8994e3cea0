#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""spawn, all, race, timeout, defer, background, through a service that uses them."""

import re
import time

import harness
from harness import SERVICES, SLOW


class Concurrency(harness.Case):
    services = [SERVICES / "parallel"]

    def run_scenario(self, name):
        answer = self.server.post("/parallel/run", {"scenario": name})
        self.assertEqual(answer.status, 200, answer)
        return answer.json["said"], answer.json["seconds"]

    def test_all_runs_side_by_side(self):
        said, seconds = self.run_scenario("all")
        self.assertEqual(said, ["A", "B"])
        self.assertGreaterEqual(seconds, 0.19)
        self.assertLess(seconds, 0.39)

    def test_all_cancels_the_others_on_an_error(self):
        self.assertEqual(self.run_scenario("all_fails")[0], ["false", "NOT_FOUND", "false"])

    def test_race(self):
        said, seconds = self.run_scenario("race")
        self.assertEqual(said, ["fast", "fast"])
        self.assertLess(seconds, 1)

    def test_timeout(self):
        said, seconds = self.run_scenario("timeout")
        self.assertEqual(said, ["false", "DEADLINE_EXCEEDED", "in time"])
        self.assertLess(seconds, 1 * SLOW)

    def test_spawn_and_join(self):
        self.assertEqual(self.run_scenario("spawn")[0], ["caller", "more", "task", "word"])

    def test_join_raises_the_error_of_the_task(self):
        self.assertEqual(self.run_scenario("join_fails")[0], ["false", "ABORTED"])

    def test_error_that_nobody_joins_fails_the_request(self):
        began = time.monotonic()
        answer = self.server.post("/parallel/run", {"scenario": "unjoined"})
        self.assert_error(answer, 500, "parallel.Parallel.Run", "nobody joined")
        self.assertLess(time.monotonic() - began, 2 * SLOW)

    def test_cancel(self):
        self.assertEqual(self.run_scenario("cancel")[0], ["CANCELLED"])

    def test_try(self):
        self.assertEqual(self.run_scenario("try")[0], ["fine", "nil", "NOT_FOUND"])

    def test_defer_runs_last_first_after_an_error(self):
        answer = self.server.post("/parallel/run", {"scenario": "defer"})
        self.assert_error(answer, 409, None, "after defer")
        self.assertTrue(self.server.wait_log("deferred one"))
        self.assertEqual(re.findall(r"deferred (one|two)", self.server.log()), ["two", "one"])

    def test_background_outlives_the_request(self):
        said, seconds = self.run_scenario("background")
        self.assertEqual(said, ["answered"])
        self.assertLess(seconds, 0.25)
        self.assertTrue(self.server.wait_log("background finished"))

    def test_waiting_in_an_own_coroutine(self):
        self.assertEqual(self.run_scenario("own_coroutine")[0], ["1", "2", "3"])

    def test_tasks_end_with_their_request(self):
        self.assertEqual(self.run_scenario("left_behind")[0], ["answered"])
        time.sleep(1.3)
        self.assertNotIn("outlived", self.server.log())


if __name__ == "__main__":
    harness.main()
