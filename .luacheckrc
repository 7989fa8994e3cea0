-- For luacheck over lua/, services/, examples/ and spec/lua/.
std = "luajit"
max_line_length = 130
unused_args = false -- a handler need not use all that it is given
