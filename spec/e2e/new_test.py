#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""From an empty folder: new, check, types, build; and that what is made runs."""

import json
import shutil
import subprocess
import unittest

import harness
from harness import SERVICES, mica


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = harness.work_folder("new")

    def run_it(self, *args, **options):
        options.setdefault("cwd", self.folder)
        return mica(*args, stdin=subprocess.DEVNULL, **options)

    def check(self, done, code, out=None, err=None):
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        if out is not None:
            self.assertRegex(done.stdout, out)
        if err is not None:
            self.assertRegex(done.stderr, err)

    def edit(self, path, old, new):
        file = self.folder / path
        text = file.read_text()
        self.assertIn(old, text)
        file.write_text(text.replace(old, new))


class New(Folder):
    def test_prints_the_tree_and_what_to_do_next(self):
        done = self.run_it("new", "posts")
        self.check(done, 0, None, "^$")
        self.assertEqual(done.stdout.split("\n\n")[1], "mica run posts\nmica posts --name Ada\n")
        for line in done.stdout.split("\n\n")[0].split("\n"):
            self.assertTrue(line.endswith("/") or list((self.folder / "posts").rglob(line.strip())), line)
        self.assertEqual(json.loads((self.folder / "posts/.luarc.json").read_text())["workspace.library"], [".mica/types"])
        self.assertTrue((self.folder / "posts/.mica/types/mica.lua").exists())

    def test_refuses_an_existing_folder(self):
        (self.folder / "posts").mkdir()
        self.check(self.run_it("new", "posts"), 1, "^$", "^mica: ALREADY_EXISTS .*posts exists already")
        self.assertEqual(list((self.folder / "posts").iterdir()), [])

    def test_names(self):
        for name in ("blog-posts", "a", "v2", "a-1-b2", "end", "message", "x-", "call"):
            with self.subTest(name):
                self.check(self.run_it("new", name), 0)
                self.check(self.run_it("check", name), 0, "^$", "^$")
        self.assertIn("package blog_posts;", (self.folder / "blog-posts/proto/blog_posts.proto").read_text())
        self.assertIn("service BlogPosts {", (self.folder / "blog-posts/proto/blog_posts.proto").read_text())
        for name in ("Posts", "1st", "a_b", "-a", "a.b", "a/b", "x--y", "", "é", "a" * 64):
            with self.subTest(name):
                self.check(self.run_it("new", "--", name), 2, "^$", "letters a-z, digits and -, beginning with a letter")
        self.check(self.run_it("new", "call-request"), 2, "^$", "choose another")

    def test_templates(self):
        self.check(self.run_it("new", "a", "--template", "web"), 2, "^$", "raw HTTP")
        self.check(self.run_it("new", "a", "--template", "model"), 2, "^$", "storage")
        self.check(self.run_it("new", "a", "--template", "steam"), 2, "^$", 'did you mean "stream"')
        self.assertFalse((self.folder / "a").exists())

    def test_a_command_does_not_hide_the_service(self):
        self.check(self.run_it("new", "stream"), 0, "mica run stream\nmica call stream Stream.Call '")


class Check(Folder):
    def setUp(self):
        super().setUp()
        self.check(self.run_it("new", "posts"), 0)

    def test_faults_are_named_by_file_and_line(self):
        self.edit("posts/main.lua", "handlers = { Posts = Posts }", "handlers = { Post = Posts }")
        self.check(self.run_it("check", "posts"), 1, r'main\.lua:13: .*"Post" \(did you mean "Posts"', "^$")
        self.check(self.run_it("check", cwd=self.folder / "posts"), 1, r"main\.lua:13: ")
        self.check(self.run_it("build", "posts"), 1, "^$", r"main\.lua:13: ")

    def test_lua_that_does_not_compile(self):
        self.edit("posts/main.lua", "return mica.service {", "return return mica.service {")
        self.check(self.run_it("check", "posts"), 1, r"main\.lua:\d+: ")

    def test_a_contract_that_does_not_compile(self):
        self.edit("posts/proto/posts.proto", "string name = 1", "string name 1")
        self.check(self.run_it("check", "posts"), 1, r"posts\.proto:\d+")

    def test_methods_without_a_handler_are_no_fault(self):
        self.edit("posts/proto/posts.proto", "returns (CallResponse);\n", "returns (CallResponse);\n  rpc More(CallRequest) returns (CallResponse);\n")
        self.check(self.run_it("check", "posts"), 0, r"main\.lua:\d+: note: Posts\.More has no handler")

    @unittest.skipUnless(shutil.which("luacheck"), "luacheck is not installed")
    def test_luacheck(self):
        self.edit("posts/main.lua", "function Posts.Call", "local unused = 1\n\nfunction Posts.Call")
        self.check(self.run_it("check", "posts"), 1, r"main\.lua:6: .*unused")

    def test_as_json(self):
        self.edit("posts/main.lua", "handlers = { Posts = Posts }", "handlers = { Post = Posts }")
        faults = json.loads(self.run_it("-o", "json", "check", "posts").stdout)
        self.assertEqual((faults[0]["file"], faults[0]["line"], faults[0]["severity"]), ("main.lua", 13, "error"))

    def test_no_service_there(self):
        self.check(self.run_it("check", "nowhere"), 1, "nowhere|^$")
        (self.folder / "empty").mkdir()
        done = self.run_it("check", "empty")
        self.assertEqual(done.returncode, 1)
        self.assertIn("main.lua", done.stdout + done.stderr)


class Breaking(Folder):
    """Changes since the version that was last built."""

    def setUp(self):
        super().setUp()
        self.check(self.run_it("new", "posts"), 0)
        self.check(self.run_it("build", "posts"), 0)

    def assert_breaks(self, text):
        self.check(self.run_it("check", "posts"), 1, r"proto/posts\.proto:\d+: .*" + text)

    def test_nothing_has_changed(self):
        self.check(self.run_it("check", "posts"), 0, "^$", "^$")

    def test_what_is_added_breaks_nothing(self):
        self.edit("posts/proto/posts.proto", "string name = 1;", "string name = 1; repeated string tags = 2;")
        self.check(self.run_it("check", "posts"), 0, "^$")

    def test_fields(self):
        for new, text in (("int32 name = 1;", "was string and is int32"), ("repeated string name = 1;", "is repeated string"),
                          ("string title = 1;", 'called "title" now'), ("string name = 2;", r'"name" \(1\) of posts\.CallRequest is gone')):
            with self.subTest(new):
                proto = self.folder / "posts/proto/posts.proto"
                before = proto.read_text()
                self.edit("posts/proto/posts.proto", "string name = 1;", new)
                main = self.folder / "posts/main.lua"
                code = main.read_text()
                main.write_text(code.replace("req.name", "tostring(req)").replace('name = "required"', ""))
                self.assert_breaks(text)
                proto.write_text(before)
                main.write_text(code)

    def test_methods(self):
        self.edit("posts/proto/posts.proto", "rpc Call(", "rpc Cull(")
        self.edit("posts/main.lua", "Posts.Call", "Posts.Cull")
        self.assert_breaks(r"the method posts\.Posts\.Call is gone")

    def test_kinds(self):
        self.edit("posts/proto/posts.proto", "returns (CallResponse)", "returns (stream CallResponse)")
        self.assert_breaks(r"posts\.Posts\.Call was unary and is a stream from the server")

    def test_a_new_build_begins_anew(self):
        self.edit("posts/proto/posts.proto", "string name = 1;", "string name = 1; string more = 2;")
        self.check(self.run_it("build", "posts"), 0)
        self.edit("posts/proto/posts.proto", " string more = 2;", "")
        self.assert_breaks('"more"')


class Build(Folder):
    def test_a_file_with_everything(self):
        self.check(self.run_it("new", "posts"), 0)
        done = self.run_it("build", "posts")
        self.check(done, 0, r"^posts-[0-9a-f]{8}\.mica\n$", "^$")
        first = (self.folder / done.stdout.strip()).read_bytes()
        self.assertIn(b"function Posts.Call", first)
        self.check(self.run_it("build", "posts", "--out", "other.mica"), 0, "^other.mica\n$")
        self.assertEqual((self.folder / "other.mica").read_bytes(), first)
        self.edit("posts/main.lua", "Hello ", "Welcome ")
        self.assertNotEqual(self.run_it("build", "posts").stdout, done.stdout)

    def test_in_its_own_folder_the_file_is_not_packed_into_the_next(self):
        self.check(self.run_it("new", "posts"), 0)
        names = {self.run_it("build", cwd=self.folder / "posts").stdout for _ in range(3)}
        self.assertEqual(len(names), 1)

    def test_where_it_cannot_be_written(self):
        self.check(self.run_it("new", "posts"), 0)
        self.check(self.run_it("build", "posts", "--out", "no/such/x.mica"), 1, "^$", "NOT_FOUND .*no/such/x.mica")


class Runs(harness.Case):
    """The templates as they are, in a server."""

    @classmethod
    def setUpClass(cls):
        folder = harness.work_folder("made")
        for name, template in (("blog-posts", "call"), ("ticker", "stream")):
            done = mica("new", name, "--template", template, cwd=folder)
            assert done.returncode == 0, done.stderr
        cls.services = [folder / "blog-posts", folder / "ticker", SERVICES / "probe"]
        super().setUpClass()

    def test_call(self):
        done = self.server.mica("call", "blog-posts", "BlogPosts.Call", '{"name":"Ada"}')
        self.assertEqual(done.stdout, '{"message":"Hello Ada"}\n', done.stderr)
        self.assertEqual(self.server.post("/blog-posts/call", {"name": "Ada"}).json, {"message": "Hello Ada"})
        self.assertEqual(self.server.mica("call", "blog-posts", "BlogPosts.Call").returncode, 1)  # a name is required

    def test_what_new_says_to_do_next(self):
        done = self.server.mica("blog-posts", "--name", "Ada")
        self.assertEqual(done.stdout, '{"message":"Hello Ada"}\n', done.stderr)
        done = self.server.mica("ticker", "count", "--to", "3")
        self.assertEqual(done.stdout, '{"number":1}\n{"number":2}\n{"number":3}\n', done.stderr)


if __name__ == "__main__":
    harness.main()
