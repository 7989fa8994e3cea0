#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A Python client that openapi-python-client generates from Mica's documents, unchanged, against a running server.

    python3 spec/e2e/openapi_generated.py [FOLDER]

It makes a virtual environment in FOLDER (default /tmp/mica-openapi-client), installs openapi-python-client there, generates
a client of the namespace's document (helloworld, weather, mapping, torture) and calls it. The generator is no Debian package and is
fetched from PyPI, so this is not a part of tools/test; openapi_test.py has a generic client of its own there.
"""

import os
import pathlib
import subprocess
import sys

import harness
from harness import EXAMPLES, SERVICES

SERVED = [EXAMPLES / "helloworld", EXAMPLES / "weather", SERVICES / "mapping", SERVICES / "torture"]

# Runs inside the virtual environment, beside the generated package `generated`.
CALLS = '''
import io, sys
from generated import Client
from generated.models import *
from generated.types import File, UNSET
from generated.api.helloworld import helloworld_helloworld_call
from generated.api.weather import weather_weather_today
from generated.api.mapping import mapping_mapping_read_2, mapping_mapping_replace_2, mapping_mapping_upload_2
from generated.api.torture import (torture_torture_echo_scalars, torture_torture_echo_known, torture_torture_recursive,
                                   torture_torture_echo_maps, torture_torture_echo_upload, torture_torture_echo_old)

client = Client(base_url=sys.argv[1])

def check(what, got, wanted):
    print(("ok      " if got == wanted else "not ok  ") + what, got)
    if got != wanted:
        sys.exit(1)

hello = helloworld_helloworld_call.sync(client=client, body=HelloworldCallRequest(name="Ada"))
check("unary", hello.message, "Hello Ada")
error = weather_weather_today.sync(client=client, body=WeatherTodayRequest(city="Atlantis"))
check("an error as a model", (type(error).__name__, error.code), ("MicaError", 404))
refused = weather_weather_today.sync(client=client, body=WeatherTodayRequest(city=""))
check("a rule of the service", refused.code, 400)
scalars = torture_torture_echo_scalars.sync(client=client, body=TortureV1Scalars(
    an_int64="9007199254740993", a_double=1.5, a_color=TortureV1Color.RED, a_string="\\u00e9", some_bytes="AP8="))
check("scalars", (scalars.an_int64, scalars.a_double, scalars.a_color.value, scalars.a_string, scalars.some_bytes),
      ("9007199254740993", 1.5, "RED", "\\u00e9", "AP8="))
known = torture_torture_echo_known.sync(client=client, body=TortureV1Known.from_dict(
    {"at": "2026-11-25T10:00:00Z", "takes": "1.5s", "structure": {"a": [1, None]}, "int64_value": "7", "string_value": "x"}))
check("well-known types", (known.at.year, known.takes, known.structure["a"], known.int64_value), (2026, "1.500s", [1, None], "7"))
node = torture_torture_recursive.sync(client=client, body=TortureV1Node(name="a", left=TortureV1Node(name="b")))
check("recursion", (node.left.name, node.children), ("b", []))
maps = torture_torture_echo_maps.sync(client=client, body=TortureV1Maps.from_dict({"by_int32": {"7": {"here": "x"}}}))
check("maps", maps.by_int32["7"].here, "x")
old = torture_torture_echo_old.sync(client=client, body=TortureV1OldOld(name="n", kind=TortureV1OldKind.FIRST))
check("proto2", (old.name, old.kind.value), ("n", "FIRST"))
form = mapping_mapping_upload_2.sync(3, client=client, body=MappingMappingUpload2FilesBody(
    title="t", photo=File(payload=io.BytesIO(b"\\x00\\xff"), file_name="p.png")))
check("a form with a file", (form.title, form.photo, form.count), ("t", "AP8=", 3))
read = mapping_mapping_read_2.sync("7", client=client, number="9007199254740993", tags=["a", "b"], page_limit=5, flag=True)
check("path and query", (read.id, read.number, read.tags, read.page.limit, read.flag), ("7", "9007199254740993", ["a", "b"], 5, True))
put = mapping_mapping_replace_2.sync("8", client=client, body=MappingRequest(name="n"))
check("path and body", (put.id, put.name), ("8", "n"))
'''


def run(*command, **options):
    print("$", *command, flush=True)
    subprocess.run(list(map(str, command)), check=True, **options)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "/tmp/mica-openapi-client")
    python = folder / "venv/bin/python"
    if not python.exists():
        run(sys.executable, "-m", "venv", folder / "venv")
        run(python, "-m", "pip", "install", "-q", "openapi-python-client")
    with harness.Server(SERVED) as server:
        document = folder / "openapi.json"
        document.write_bytes(server.http("GET", "/openapi.json").body)
        run(folder / "venv/bin/openapi-python-client", "--version")
        run(folder / "venv/bin/openapi-python-client", "generate", "--path", document, "--meta", "none", "--overwrite",
            "--output-path", folder / "generated", env={**os.environ, "PATH": f"{folder}/venv/bin:{os.environ['PATH']}"})
        (folder / "calls.py").write_text(CALLS)
        run(python, folder / "calls.py", f"http://{server.api}", cwd=folder)


if __name__ == "__main__":
    main()
