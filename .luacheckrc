-- What luacheck needs to know; tools/test runs it over lua/, services/, examples/ and spec/.
std = "luajit"
max_line_length = 130
-- The prelude is what makes the globals of a VM; handlers need not use all of their arguments.
unused_args = false
files["spec/lua"] = { globals = { "core" } }
