#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What requests over HTTP become: the rows of mapping.md, each a request and the message that the service gets."""

import http.client
import json
import pathlib
import re

import harness
from harness import SERVICES, SLOW

TABLE = pathlib.Path(__file__).with_name("mapping.md")
BOUNDARY = "----form"


def rows():
    """(section, request, spans of `with`, becomes) of each row."""
    section = None
    for line in TABLE.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 3 and cells[0].startswith("`"):
            yield section, cells[0].strip("`"), re.findall(r"`([^`]*)`", cells[1]), cells[2]


def part(text):
    """A part of multipart/form-data: NAME=VALUE, NAME=@FILE;TYPE=CONTENT or NAME=;TYPE=CONTENT."""
    name, value = text.split("=", 1)
    head = f'Content-Disposition: form-data; name="{name}"'
    named = re.fullmatch(r"(@[^;]*)?;([\w/]+)=(.*)", value, re.DOTALL)
    if named:
        file, kind, value = named.groups()
        if file:
            head += f'; filename="{file[1:]}"'
        head += f"\r\nContent-Type: {kind}"
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n{value}\r\n"


def build(spans):
    """Headers and body of what stands in a row's `with`."""
    headers, parts, body = {}, [], None
    for span in spans:
        header = re.fullmatch(r"([a-z-]+): (.*)", span)
        if header and header[1] == "form":
            parts.append(part(header[2]))
        elif header:
            headers[header[1]] = header[2]
        else:
            body = span
    if parts:
        headers["content-type"] = "multipart/form-data; boundary=" + BOUNDARY
        body = "".join(parts) + f"--{BOUNDARY}--\r\n"
    elif body is not None:
        headers.setdefault("content-type", "application/json")
    return headers, body


class Mapping(harness.Case):
    services = [SERVICES / "mapping"]

    def ask(self, request, spans):
        method, path = request.split(" ", 1)
        headers, body = build(spans)
        self.connection.request(method, path, None if body is None else body.encode(), headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()

    def check(self, section):
        host, port = self.server.api.split(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=10 * SLOW)
        count = 0
        for title, request, spans, becomes in rows():
            if title != section:
                continue
            count += 1
            with self.subTest(request=request, spans=spans):
                status, text = self.ask(request, spans)
                wanted = re.match(r"(\d{3})(?: `(.*)`)?$", becomes)
                if wanted:
                    self.assertEqual(status, int(wanted[1]), text)
                    self.assertIn(wanted[2] or "", json.loads(text)["detail"] if text else "")
                else:
                    self.assertEqual((status, text), (200, becomes.strip("`")))
        self.connection.close()
        self.assertGreater(count, 5)


def add_tests():
    for section in dict.fromkeys(row[0] for row in rows()):
        name = "test_" + re.sub(r"\W+", "_", section.lower()).strip("_")
        setattr(Mapping, name, lambda self, section=section: self.check(section))


add_tests()

if __name__ == "__main__":
    harness.main()
