-- Splits a line into words as a shell does: blanks separate, 'text' is kept as it is, "text" and \x take a backslash as
-- a mark that the next character is meant; # begins a comment at the start of a word.

local words = {}

-- The text of a '...' or "..." that begins at i, and where it ends; nil when it does not.
local function quoted(line, i)
  local mark = line:sub(i, i)
  if mark == "'" then
    local close = line:find("'", i + 1, true)
    return close and line:sub(i + 1, close - 1), close
  end
  local text, at = {}, i + 1
  while at <= #line do
    local c = line:sub(at, at)
    if c == '"' then return table.concat(text), at end
    if c == "\\" and line:find('^["\\$`]', at + 1) then
      at = at + 1
      c = line:sub(at, at)
    end
    table.insert(text, c)
    at = at + 1
  end
end

-- The word that begins at i, and where it ends; nil and what is wrong.
local function word_at(line, i)
  local parts = {}
  while i <= #line and not line:find("^%s", i) do
    local c = line:sub(i, i)
    local text, last = c, i
    if c == "'" or c == '"' then
      text, last = quoted(line, i)
      if not text then return nil, ("a %s is not closed"):format(c) end
    elseif c == "\\" then
      text, last = line:sub(i + 1, i + 1), i + 1
      if text == "" then return nil, "nothing follows the last \\" end
    end
    table.insert(parts, text)
    i = last + 1
  end
  return table.concat(parts), i
end

--- The words, or nil and what is wrong.
---@param line string
---@return string[]?, string?
function words.split(line)
  local out = {}
  local i = line:find "%S"
  while i and line:sub(i, i) ~= "#" do
    local word, after = word_at(line, i)
    if not word then return nil, after end
    table.insert(out, word)
    i = line:find("%S", after)
  end
  return out
end

return words
