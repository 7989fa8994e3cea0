#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""House rules that no other tool checks: see the table of rules below."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LONGEST_FILE, LONGEST_HEADER = 600, 450
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|WIP)\b")
ENDS_PROCESS = re.compile(r"(?<![\w.>])(exit|_exit|abort|quick_exit)\s*\(")
UNSAFE = re.compile(r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|alloca)\s*\(")


def tracked():
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True)
    if listed.returncode == 0:
        return sorted(set(listed.stdout.splitlines()))
    skip = {"build", "node_modules", ".git"}
    return sorted(str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file() and not skip & set(p.parts))


def code_of(line):
    """A line of C without strings and line comments."""
    return re.sub(r"//.*", "", re.sub(r'"(\\.|[^"\\])*"', '""', line))


def check_c(name, lines):
    in_core, header = name.startswith("core/"), name.endswith(".h")
    if not lines or "SPDX-License-Identifier: Apache-2.0" not in lines[0]:
        yield 1, "the first line is the SPDX line"
    told = re.match(r"(//|/\*) ?\S", lines[1] if len(lines) > 1 else "")
    if in_core and not told and not (ROOT / name).with_suffix(".h").is_file():
        yield 2, "a file opens with what it is, unless its header tells"
    most = LONGEST_HEADER if header else LONGEST_FILE
    if in_core and len(lines) > most:
        yield len(lines), f"{len(lines)} lines: more than {most} usually hold two ideas"
    if header and "#pragma once" not in lines:
        yield 1, "a header says #pragma once"
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            yield number, "a tab"
        code = code_of(line)
        if in_core and name.count("/") > 1 and ENDS_PROCESS.search(code) and "//" not in line:
            yield number, "nothing below main ends the process, unless the line says why"
        if in_core and UNSAFE.search(code):
            yield number, "a function without a bound"


def check_text(name, lines):
    if name.endswith((".c", ".h", ".lua", ".py", ".js", ".proto", ".txt")) or name.startswith("tools/"):
        for number, line in enumerate(lines, 1):
            if UNFINISHED.search(line) and name != "spec/check/style.py":
                yield number, "unfinished work"
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield number, "space at the end of the line"
    if lines and not lines[-1].strip():
        yield len(lines), "empty lines at the end"


def check_lua(name, lines):
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            yield number, "a tab"


def faults():
    for name in tracked():
        path = ROOT / name
        if not path.is_file() or path.is_symlink():
            continue
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        checks = [check_text]
        if name.endswith((".c", ".h")):
            checks.append(check_c)
        if name.endswith(".lua"):
            checks.append(check_lua)
        for check in checks:
            for number, text in check(name, lines):
                yield f"{name}:{number}: {text}"


found = list(faults())
for fault in found:
    print(fault)
sys.exit(1 if found else 0)
