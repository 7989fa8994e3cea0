-- SPDX-License-Identifier: Apache-2.0
-- Unit tests of the library: `luajit spec/lua/run.lua [name]`, from the root of the checkout. Each *_test.lua beside this
-- file gets the tools below; a test is a function that raises when it fails.
package.path = "spec/lua/?.lua;" .. package.path

local T = { count = 0, failures = {} }

local function show(v)
  if type(v) ~= "table" or (getmetatable(v) or {}).__tostring then
    return type(v) == "string" and ("%q"):format(v) or tostring(v)
  end
  local keys, parts = {}, {}
  for k in pairs(v) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, k in ipairs(keys) do parts[i] = tostring(k) .. "=" .. show(v[k]) end
  return "{" .. table.concat(parts, ", ") .. "}"
end

function T.eq(wanted, got)
  if show(wanted) ~= show(got) then error(("wanted %s\n   got %s"):format(show(wanted), show(got)), 2) end
end

function T.ok(value, what)
  if not value then error(what or "not true", 2) end
end

-- fn must raise; gives what it raised. With a text, that must stand in it as it is.
function T.raises(text, fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then error("did not raise: " .. tostring(text), 2) end
  if text and not tostring(err):find(text, 1, true) then
    error(("wanted an error with %s\n   got %s"):format(text, tostring(err)), 2)
  end
  return err
end

function T.test(name, fn)
  T.count = T.count + 1
  local ok, err = xpcall(fn, debug.traceback)
  if not ok then T.failures[#T.failures + 1] = T.file .. ": " .. name .. "\n" .. tostring(err) end
end

local wanted = arg[1]
local listing = assert(io.popen("ls spec/lua/*_test.lua"))
for path in listing:lines() do
  if not wanted or path:find(wanted, 1, true) then
    T.file = path
    assert(loadfile(path))(T)
  end
end
listing:close()

for _, failure in ipairs(T.failures) do print("FAILED " .. failure .. "\n") end
print(("%d tests, %d failed"):format(T.count, #T.failures))
os.exit(#T.failures == 0 and T.count > 0 and 0 or 1)
