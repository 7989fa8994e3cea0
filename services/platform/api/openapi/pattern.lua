-- A Lua pattern as a regular expression of ECMA-262, which JSON Schema wants.
--
-- Lua matches bytes and JSON Schema characters, so a pattern is translated only where both say the same of every text: what may
-- match a byte beyond ASCII ("." and complements) must be repeated with * + or -, and of such items in a row only one with +.
-- %b, %f, back references and bytes beyond ASCII in the pattern are not translated: the answer is nil.

local pattern = {}

local CLASSES = { a = "A-Za-z", d = "0-9", l = "a-z", u = "A-Z", w = "A-Za-z0-9", x = "0-9A-Fa-f", s = " \\t\\n\\v\\f\\r",
  p = "!-\\/:-@\\[-`{-~", c = "\\x00-\\x1f\\x7f" }
local REPEATS = { ["*"] = "*", ["+"] = "+", ["-"] = "*?" }

local function literal(char)
  return (char:gsub("[%^%$\\%.%*%+%?%(%)%[%]{}|/]", "\\%0"))
end

local function in_set(char) return (char:gsub("[\\%]%[%^%-]", "\\%0")) end

-- The set that begins at `at`, its "[" passed: regular expression, whether it is a complement, place behind it.
local function read_set(text, at)
  local complement = text:sub(at, at) == "^"
  if complement then at = at + 1 end
  local parts, first = {}, true
  while first or text:sub(at, at) ~= "]" do
    local char, next_char = text:sub(at, at), text:sub(at + 1, at + 1)
    if char == "" then return nil end
    if char == "%" then
      local class = CLASSES[next_char]
      if not class and next_char:find "^%w?$" then return nil end -- a complement in a set, or a pattern that ends
      table.insert(parts, class or in_set(next_char))
      at = at + 2
    elseif next_char == "-" and text:sub(at + 2, at + 2):find "^[^%]%%]" then
      table.insert(parts, in_set(char) .. "-" .. in_set(text:sub(at + 2, at + 2)))
      at = at + 3
    else
      table.insert(parts, in_set(char))
      at = at + 1
    end
    first = false
  end
  return ("[%s%s]"):format(complement and "^" or "", table.concat(parts)), complement, at + 1
end

-- One item that stands for a character: regular expression, whether it may be a byte beyond ASCII, place behind it.
local function read_item(text, at)
  local char, next_char = text:sub(at, at), text:sub(at + 1, at + 1)
  if char == "." then return "[\\s\\S]", true, at + 1 end
  if char == "[" then return read_set(text, at + 1) end
  if char ~= "%" then return literal(char), false, at + 1 end
  local class = CLASSES[next_char:lower()]
  if class and next_char:find "%u" then return "[^" .. class .. "]", true, at + 2 end
  if class then return "[" .. class .. "]", false, at + 2 end
  if next_char == "" or next_char:find "%w" then return nil end -- %b, %f, %1
  return literal(next_char), false, at + 2
end

-- Translates the items from `at`; `parts` grows.
local function translate(text, at, parts)
  local wide_pluses, open = 0, 0 -- since the last item of ASCII; groups
  while at <= #text do
    local char = text:sub(at, at)
    if char == "(" or char == ")" then
      open = open + (char == "(" and 1 or -1)
      table.insert(parts, char)
      at = at + 1
    elseif char == "$" and at == #text then
      table.insert(parts, "$")
      at = at + 1
    else
      local item, wide, after = read_item(text, at)
      if not item then return false end
      local mark = text:sub(after, after)
      local times = REPEATS[mark] or mark == "?" and "?" or ""
      if wide and not REPEATS[mark] then return false end
      if not wide then wide_pluses = times == "" and 0 or wide_pluses end
      if wide and mark == "+" then wide_pluses = wide_pluses + 1 end
      if wide_pluses > 1 then return false end
      table.insert(parts, item .. times)
      at = after + (times ~= "" and 1 or 0)
    end
  end
  return open == 0
end

--- nil: it cannot be said as a regular expression.
---@param text string
---@return string?
function pattern.to_regex(text)
  if text:find "[\128-\255%z]" then return nil end
  local parts = {}
  local anchored = text:sub(1, 1) == "^"
  if anchored then parts[1] = "^" end
  if not translate(text, anchored and 2 or 1, parts) then return nil end
  return (table.concat(parts):gsub("%(%)", "")) -- a position capture matches nothing
end

return pattern
