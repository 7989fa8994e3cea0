-- What commands print: tables, single things, streams, changes; each for people, for programs (-o json) and as names
-- only (-o name). The functions are methods of the console (lib/console.lua).

local mica = require "mica"
local json_text = require "lib.json_text"

local output = {}

-- ---- values as texts -----------------------------------------------------------------------------------------------

local SPANS = { { 86400, "d" }, { 3600, "h" }, { 60, "m" }, { 1, "s" } }

local function span(seconds)
  for _, unit in ipairs(SPANS) do
    if seconds >= unit[1] then return math.floor(seconds / unit[1]) .. unit[2] end
  end
end

--- A time: "3m ago" on a terminal, RFC 3339 elsewhere; "" when there is none.
---@param t number|string|nil unix seconds, or RFC 3339
---@return string
function output.time(cli, t)
  if type(t) == "string" and t:find "^%d%d%d%d%-" then t = mica.time.parse(t) end
  t = tonumber(t)
  if not t or t == 0 then return "" end
  if not cli.terminal then return mica.time.format(math.floor(t)) end
  local ago = mica.time.now() - t
  local text = span(math.abs(ago))
  if not text then return "now" end
  return ago < 0 and "in " .. text or text .. " ago"
end

local SIZES = { { 1024 ^ 4, "TB" }, { 1024 ^ 3, "GB" }, { 1024 ^ 2, "MB" }, { 1024, "KB" } }

--- A size: "1.5MB" on a terminal, bytes elsewhere.
---@param n number|string|nil
---@return string
function output.bytes(cli, n)
  n = tonumber(n)
  if not n then return "" end
  if cli.terminal then
    for _, unit in ipairs(SIZES) do
      if n >= unit[1] then return (n >= unit[1] * 10 and "%.0f%s" or "%.1f%s"):format(n / unit[1], unit[2]) end
    end
  end
  return ("%.0f"):format(n)
end

--- How long something took.
---@param s number|string|nil
---@return string
function output.seconds(_, s)
  s = tonumber(s)
  if not s then return "" end
  if s < 0.9995 then return ("%.0f ms"):format(s * 1000) end
  return s < 60 and ("%.1f s"):format(s) or ("%dm %ds"):format(math.floor(s / 60), math.floor(s % 60))
end

-- ---- lists ---------------------------------------------------------------------------------------------------------

---@class mica.cli.Column
---@field [1] string the header
---@field key? string of the row
---@field kind? "time"|"bytes"|"seconds"
---@field paint? fun(value: any): string? the colour of a cell

-- Control characters would break the lines, and could play tricks on a terminal.
local function plain(text) return (text:gsub("[%z\1-\31\127]", " ")) end

local function cell(cli, column, value)
  if value == nil or value == mica.null then return "" end
  if column.kind then return output[column.kind](cli, value) end
  if type(value) == "table" then return plain(table.concat(value, ",")) end
  if type(value) == "number" and value == math.floor(value) then return ("%.0f"):format(value) end
  return plain(tostring(value))
end

local function normal(column)
  if type(column) == "string" then column = { column } end
  return { column[1], key = column.key or column[1]:lower(), kind = column.kind, paint = column.paint }
end

-- Columns of the terminal that a text takes: characters, not bytes.
local function width(text) return select(2, text:gsub("[^\128-\191]", "")) end

local function before(a, b)
  if type(a) == "number" and type(b) == "number" then return a < b end
  return tostring(a) < tostring(b)
end

local function sorted_rows(rows, key)
  local list = {}
  for i, row in ipairs(rows) do list[i] = { row = row, place = i, by = row[key] or "" } end
  table.sort(list, function(a, b)
    if a.by == b.by then return a.place < b.place end
    return before(a.by, b.by)
  end)
  for i, item in ipairs(list) do list[i] = item.row end
  return list
end

local function layout(cli, columns, rows)
  local cells, widths = {}, {}
  for c, column in ipairs(columns) do widths[c] = width(column[1]) end
  for r, row in ipairs(rows) do
    cells[r] = {}
    for c, column in ipairs(columns) do
      cells[r][c] = cell(cli, column, row[column.key])
      widths[c] = math.max(widths[c], width(cells[r][c]))
    end
  end
  return cells, widths
end

local function line(texts, widths, paint)
  local parts = {}
  for c, text in ipairs(texts) do
    local padding = c < #texts and (" "):rep(widths[c] - width(text)) or ""
    parts[c] = paint(c, text) .. padding
  end
  return (table.concat(parts, "  "):gsub(" +$", ""))
end

local function print_table(cli, columns, rows)
  local cells, widths = layout(cli, columns, rows)
  local headers, lines = {}, {}
  for c, column in ipairs(columns) do headers[c] = column[1] end
  lines[1] = line(headers, widths, function(_, text) return cli:paint("bold", text) end)
  for r, texts in ipairs(cells) do
    lines[r + 1] = line(texts, widths, function(c, text)
      local paint = columns[c].paint
      local colour = paint and paint(rows[r][columns[c].key])
      return colour and cli:paint(colour, text) or text
    end)
  end
  cli:print(table.concat(lines, "\n"))
end

---@param cli mica.cli.Console
---@param columns (string|mica.cli.Column)[]
---@param rows table[]
---@param opts? { sorted?: boolean }
function output.table(cli, columns, rows, opts)
  local all = {}
  for c, column in ipairs(columns) do all[c] = normal(column) end
  if not (opts and opts.sorted == false) then rows = sorted_rows(rows, all[1].key) end
  if cli.output == "json" then
    cli:print(mica.json.encode(mica.json.array(rows), { pretty = cli.terminal }))
  elseif cli.output == "name" then
    local names = {}
    for r, row in ipairs(rows) do names[r] = cell(cli, all[1], row[all[1].key]) .. "\n" end
    if #names > 0 then cli:write(table.concat(names)) end
  else
    print_table(cli, all, rows)
  end
end

-- ---- single things, streams, changes -------------------------------------------------------------------------------

---@param cli mica.cli.Console
---@param value any
---@param name? string
function output.value(cli, value, name)
  if cli.output == "name" and name then return cli:print(name) end
  if type(value) == "table" or cli.output == "json" then
    return cli:print(mica.json.encode(value, { pretty = cli.terminal }))
  end
  cli:print(tostring(value))
end

---@param cli mica.cli.Console
---@param text string a JSON text
---@param name? string
function output.json(cli, text, name)
  if cli.output == "name" and name then return cli:print(name) end
  cli:print(cli.terminal and json_text.indent(text) or json_text.compact(text))
end

---@param cli mica.cli.Console
---@param value table|string a JSON text when it is a string
---@param text? string
function output.item(cli, value, text)
  if text and cli.output ~= "json" then return cli:print(text) end
  cli:print(type(value) == "string" and json_text.compact(value) or mica.json.encode(value))
end

---@param cli mica.cli.Console
---@param cells string[]
---@param object? table
function output.changed(cli, cells, object)
  if cli.quiet then return end
  if cli.output == "json" then
    cli:print(mica.json.encode(object or { name = cells[1] }))
  elseif cli.output == "name" then
    cli:print(cells[1])
  else
    cli:print(table.concat(cells, "  "))
  end
end

return output
