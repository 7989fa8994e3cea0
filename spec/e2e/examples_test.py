#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The second example: one service that asks two others at once."""

import harness
from harness import EXAMPLES


class Dashboard(harness.Case):
    # The one that calls comes first: whom it calls need not run yet when it is loaded.
    services = [EXAMPLES / name for name in ("dashboard", "weather", "news")]

    def test_answers_are_joined(self):
        answer = self.server.post("/dashboard/show", {"city": "Oslo"})
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(
            answer.json,
            {"sky": "RAIN", "celsius": 4, "headlines": ["Ferry on time for a whole year", "Rain expected to go on"]})

    def test_error_of_a_callee_names_it(self):
        answer = self.server.post("/dashboard/show", {"city": "Atlantis"})
        self.assert_error(answer, 404, "weather.Weather.Today", 'no weather for "Atlantis"')

    def test_refused_by_rules_of_a_callee(self):
        answer = self.server.post("/dashboard/show", {})
        self.assertEqual(answer.status, 400, answer)

    def test_a_zero_gets_its_default(self):
        answer = self.server.post("/news/latest", {"city": "Berlin"})
        self.assertEqual(answer.json, {"headlines": ["A tram is named after a cat"]})
        self.assert_error(self.server.post("/news/latest", {"city": "Berlin", "limit": 101}), 400)


if __name__ == "__main__":
    harness.main()
