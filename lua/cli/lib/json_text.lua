-- JSON texts in another layout. They are not read as values, so that the order of fields, large numbers and their
-- spelling stay as the server wrote them.

local json_text = {}

local STRING = '^"[^"\\]*"'

-- Where the string that begins at i ends.
local function end_of_string(text, i)
  local last = select(2, text:find(STRING, i))
  if last then return last end
  last = i + 1
  while last < #text and text:sub(last, last) ~= '"' do last = last + (text:sub(last, last) == "\\" and 2 or 1) end
  return last
end

-- Calls `on(kind, text)` for each token: "string", "word" (numbers, true, false, null), or the mark itself.
local function tokens(text, on)
  local i = text:find "%S"
  while i do
    local c, last = text:sub(i, i), i
    if c == '"' then
      last = end_of_string(text, i)
      on("string", text:sub(i, last))
    elseif c:find "[{}%[%],:]" then
      on(c, c)
    else
      last = select(2, text:find('^[^%s{}%[%],:"]+', i))
      on("word", text:sub(i, last))
    end
    i = text:find("%S", last + 1)
  end
end

--- On one line.
---@param text string
---@return string
function json_text.compact(text)
  local out = {}
  tokens(text, function(_, token) table.insert(out, token) end)
  return table.concat(out)
end

--- A line each, indented by two spaces; what is empty stays together.
---@param text string
---@return string
function json_text.indent(text)
  local out, depth, opened = {}, 0, false
  local function new_line() table.insert(out, "\n" .. ("  "):rep(depth)) end
  tokens(text, function(kind, token)
    local closes = kind == "}" or kind == "]"
    if closes then depth = depth - 1 end
    if closes and not opened or not closes and opened then new_line() end
    table.insert(out, token)
    opened = kind == "{" or kind == "["
    if opened then
      depth = depth + 1
    elseif kind == "," then
      new_line()
    elseif kind == ":" then
      table.insert(out, " ")
    end
  end)
  return table.concat(out)
end

return json_text
