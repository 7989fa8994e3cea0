-- SPDX-License-Identifier: Apache-2.0
-- core.http_rules: the paths that endpoints have at the HTTP gateway beside the one that their name gives them: from the .proto
-- (option google.api.http) and from main.lua (endpoints[...].path). Both count. Loaded for one call.
local core = ...

-- What the gateway answers itself; "/openapi.json" and the like.
local RESERVED = { ["/"] = true, ["/health"] = true, ["/metrics"] = true, ["/openapi.json"] = true, ["/favicon.ico"] = true }

local BODILESS = { GET = true, HEAD = true, DELETE = true }

-- "POST /posts/{id}" -> a rule, whose body is the whole request unless the method has none.
local function rule_of(text, more)
  local method, template = text:match "^([%u*-]+) (/%S*)$"
  if not method then return nil end
  return { text = text, method = method, template = template, body = more.body or BODILESS[method] and "" or "*",
    response_body = more.response_body or "" }
end

local function is_rule(path)
  return type(path) == "string" or type(path) == "table" and (path.body or path.response_body) ~= nil
end

local SHAPES = 'write "GET /posts/{id}", { "PUT /posts/{post.id}", body = "post" }, or a list of these'

-- endpoints[...].path as a list of rules; nil and a text when it is none.
local function read(path)
  local list = {}
  if is_rule(path) then path = { path } end
  if type(path) ~= "table" then return nil, SHAPES end
  for key, one in pairs(path) do
    local more = type(one) == "table" and one or {}
    local text = type(one) == "table" and one[1] or one
    local rule = type(key) == "number" and type(text) == "string" and rule_of(text, more)
    if not rule then return nil, SHAPES, type(text) == "string" and text or nil end
    for name, value in pairs(more) do
      if (name ~= 1 and name ~= "body" and name ~= "response_body") or type(value) ~= "string" then return nil, SHAPES, text end
    end
    list[key] = rule
  end
  return list
end

-- Two templates of one shape answer the same paths: "GET /posts/*" for "GET /posts/{id}".
local function shape_of(rule)
  return rule.method .. " " .. rule.template:gsub("{[%w_.]+}", "*"):gsub("{[%w_.]+=(.-)}", "%1")
end

local function fault_of(method, rule, taken)
  local fault = core.check_http(method.path, rule)
  if fault then return fault end
  if RESERVED[rule.template] then return ("the gateway itself answers %s"):format(rule.template) end
  local shape = shape_of(rule)
  if taken[shape] then return ("%s %s answers what %s answers already"):format(rule.method, rule.template, taken[shape]) end
  taken[shape] = method.endpoint
end

-- Checks the paths of all methods; method.http becomes the list of all. `fail(word, text)` raises at a place of main.lua.
---@param methods table[]
---@param fail fun(word: string, fmt: string, ...)
return function(methods, fail)
  local taken = {}
  for _, method in ipairs(methods) do
    for _, rule in ipairs(method.http or {}) do
      local fault = fault_of(method, rule, taken)
      if fault then
        error(("%s:%d: option (google.api.http) of %s: %s"):format(method.service.file, method.line, method.endpoint, fault), 0)
      end
    end
  end
  for _, method in ipairs(methods) do
    local what = ('endpoints["%s"].path'):format(method.endpoint)
    local list, fault, word = read(method.path_option or {})
    if not list then fail(word or "path", "%s: %s", what, fault) end
    method.http = method.http or {}
    for _, rule in ipairs(list) do
      fault = fault_of(method, rule, taken)
      if fault then fail(rule.text, "%s: %s", what, fault) end
      rule.text = nil
      table.insert(method.http, rule)
    end
  end
end
