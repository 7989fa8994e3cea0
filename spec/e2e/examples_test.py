#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The examples: services that call services, and a page that stays in touch."""

import json

import harness
import raw_websocket
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


class Live(harness.Case):
    services = [EXAMPLES / "live"]

    def test_page(self):
        page = self.server.http("GET", "/live/")
        self.assertEqual(page.headers["content-type"], "text/html; charset=utf-8")
        self.assertIn(b"live.js", page.body)
        self.assertIn(b"WebSocket", self.server.http("GET", "/live/live.js").body)

    def test_talk(self):
        own = {"Sec-WebSocket-Protocol": "mica.json", "Origin": f"http://{self.server.api}"}
        with raw_websocket.open(self.server.api, "/live/talk", own) as socket:
            for number in (1, 2):
                socket.send('{"text":"hello"}')
                self.assertEqual(json.loads(socket.receive().data), {"text": "hello", "number": str(number)})
            socket.send("")
            self.assertEqual(socket.end(), ([], 1000, ""))

    def test_events_go_on(self):
        answer = self.server.http("GET", "/live/ticks?to=41", headers={"Accept": "text/event-stream", "Last-Event-ID": "40"})
        self.assertIn(b'id: 41\ndata: {"number":"41"}\n\nid: mica:end\nevent: end\n', answer.body)


if __name__ == "__main__":
    harness.main()
