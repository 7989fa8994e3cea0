-- mica stream: `mica call` under the name that Micro gives it.

local call = require "call"

return {
  examples = { [[mica stream helloworld Helloworld.Stream '{"name":"Ada","messages":3}']] },
  text = call.text,
  parser = call.parser,
  check = call.check,
  run = call.run,
}
