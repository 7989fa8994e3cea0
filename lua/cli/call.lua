-- mica call NAME ENDPOINT [JSON]: an endpoint of any kind; requests and answers as JSON.

local calling = require "lib.calling"
local contracts = require "lib.contract"
local flags = require "lib.flags"
local mica = require "mica"

local function read_metadata(cli, pairs_given)
  local metadata = {}
  for _, pair in ipairs(pairs_given) do
    local key, value = pair:match "^([^=]+)=(.*)$"
    if not key then cli:usage("--metadata: expected KEY=VALUE, got %q", pair) end
    key = key:lower()
    if not key:find "^[%l%d._-]+$" then
      cli:usage("--metadata: %q is no key: letters, digits, '-', '_' and '.'", key)
    end
    metadata[key] = metadata[key] or {}
    table.insert(metadata[key], value)
  end
  return metadata
end

-- What is sent: a body, or lines for a stream of requests.
local function set_input(cli, request, endpoint, contract, message, word)
  if not endpoint.client_streaming then
    request.body = word and cli:content(word) or "{}"
    if not request.body:find "%S" then request.body = "{}" end
    calling.check_body(cli, contract, message, request.body)
  elseif word and word ~= "-" then
    local text = cli:content(word)
    if word:sub(1, 1) ~= "@" then
      calling.check_body(cli, contract, message, text)
      request.lines = calling.one_line(text)
      return
    end
    for line in text:gmatch "[^\n]+" do
      if line:find "%S" then calling.check_body(cli, contract, message, line) end
    end
    request.lines = text:gmatch "[^\n]+"
  else
    request.lines = calling.checked_lines(cli, contract, message)
  end
end

local function check(cli, args)
  args.retry_count = flags.count(cli, args.retries or "0", "--retries", 0, 100)
  args.pairs = read_metadata(cli, args.metadata)
end

local function wait_for_service(cli, args, name, version)
  if not args.wait then return calling.service(cli, name, version) end
  local stop = mica.time.now() + (cli:timeout())
  while true do
    local service, err = mica.try(calling.service, cli, name, version)
    if service then return service end
    if err.code ~= "NOT_FOUND" and err.code ~= "UNAVAILABLE" or mica.time.now() > stop then error(err, 0) end
    mica.sleep(0.1)
  end
end

local function run(cli, args)
  local name, version = cli:name(args.service)
  local service = wait_for_service(cli, args, name, version)
  local endpoint = calling.endpoint(cli, service, args.endpoint)
  local contract = contracts.fetch(cli:server(), name, service.version)
  local method = contract.methods[endpoint.name]
  if not method then
    cli:fail_hint("mica describe " .. name, "NOT_FOUND", "the contract of %s has no %s", name, endpoint.name)
  end
  local request = {
    path = endpoint.path,
    kind = calling.kind(endpoint),
    metadata = args.pairs,
    retries = args.retry_count,
    wait = args.wait and (cli:timeout()) or nil,
    headers = args.headers,
    raw = args.raw and calling.raw_field(cli, contract, contract.messages[method.output]) or nil,
  }
  if version then request.metadata["mica-version"] = version end
  set_input(cli, request, endpoint, contract, contract.messages[method.input], args.json)
  calling.run(cli, request)
end

return {
  examples = {
    [[mica call helloworld Helloworld.Call '{"name":"Ada"}']],
    [[mica call posts save @post.json --metadata trace-this=yes]],
    [[printf '{"n":1}\n{"n":2}\n' | mica call numbers Numbers.Sum]],
    [[mica call files download '{"id":"7"}' --raw > photo.jpg]],
  },
  text = "ENDPOINT is Posts.Save, save, or a full name such as posts.Posts.Save. Without JSON the request is {}. A stream of\n"
    .. "requests is read as JSON lines from standard input; a stream of answers is printed as one JSON object a line.",
  parser = function(parser)
    parser:argument("service", "The service: name or name@version.")
    parser:argument("endpoint", "The endpoint.")
    parser:argument("json", "The request: JSON, @file or - for standard input."):args "?"
    parser:option("--metadata", "Metadata to send; may repeat."):argname("KEY=VALUE"):count "*"
    parser:option("--retries", "Try again so often when the service is UNAVAILABLE (0)."):argname "N"
    parser:flag("--wait", "Wait until the service is there, as long as --timeout says.")
    parser:flag("--raw", "Write the answer's bytes as they are.")
    parser:flag("--headers", "Show the answer's metadata on standard error.")
  end,
  check = check,
  run = run,
}
