# SPDX-License-Identifier: Apache-2.0
"""A strict reader of Prometheus' text format 0.0.4: what is not as the format and its conventions say is an AssertionError."""

import math
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|(?=\}))')
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def unescape(text):
    return re.sub(r"\\(.)", lambda m: "\n" if m.group(1) == "n" else m.group(1), text)


def read_sample(line):
    """name{labels} value -> (name, ((label, value), ...), value)"""
    match = NAME.match(line)
    assert match, line
    name, rest = match.group(), line[match.end():]
    labels = []
    if rest.startswith("{"):
        rest = rest[1:]
        while not rest.startswith("}"):
            label = LABEL.match(rest)
            assert label, line
            labels.append((label.group(1), unescape(label.group(2))))
            rest = rest[label.end():]
        rest = rest[1:]
    assert re.fullmatch(r" (\+Inf|-Inf|NaN|-?[0-9.]+(e[+-]?[0-9]+)?)", rest), line
    assert len({key for key, _ in labels}) == len(labels), line
    return name, tuple(sorted(labels)), float(rest)


class Page:
    """What a page says: families (name -> type), samples ((name, labels) -> value)."""

    def __init__(self, text):
        self.types, self.samples = {}, {}
        assert text.endswith("\n") and "\r" not in text
        family = helped = None
        for line in text[:-1].split("\n"):
            if line.startswith("# HELP "):
                helped = line.split(" ", 3)[2]
                assert len(line.split(" ", 3)) == 4, line
            elif line.startswith("# TYPE "):
                _, _, family, kind = line.split(" ")
                assert helped == family and family not in self.types and kind in SUFFIXES, line
                assert kind != "counter" or family.endswith("_total"), line
                assert kind == "counter" or not family.endswith("_total"), line
                self.types[family] = kind
            else:
                name, labels, value = read_sample(line)
                assert family and name[len(family):] in SUFFIXES[self.types[family]] and name.startswith(family), line
                assert (name, labels) not in self.samples, f"twice: {line}"
                assert self.types[family] != "counter" or value >= 0, line
                self.samples[name, labels] = value
        self.check_histograms()

    def check_histograms(self):
        for family in (f for f, kind in self.types.items() if kind == "histogram"):
            series = {}
            for (name, labels), value in self.samples.items():
                if name == family + "_bucket":
                    le = float(dict(labels)["le"])
                    series.setdefault(tuple(l for l in labels if l[0] != "le"), []).append((le, value))
            for labels, buckets in series.items():
                buckets.sort()
                values = [value for _, value in buckets]
                assert values == sorted(values) and math.isinf(buckets[-1][0]), (family, labels, buckets)
                assert values[-1] == self.samples[family + "_count", labels], (family, labels)
                assert (family + "_sum", labels) in self.samples, (family, labels)

    def find(self, name, **labels):
        """The samples of a name whose labels include these."""
        wanted = set(labels.items())
        return {dict(l).get("code", l) if "code" in dict(l) else l: value
                for (n, l), value in self.samples.items() if n == name and wanted <= set(l)}

    def sum(self, name, **labels):
        return sum(self.find(name, **labels).values())

    def one(self, name, **labels):
        found = self.find(name, **labels)
        assert len(found) == 1, (name, labels, found)
        return next(iter(found.values()))
