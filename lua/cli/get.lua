-- mica get service NAME: `mica describe` under the name that Micro gives it.

local describe = require "describe"

return {
  commands = {
    service = {
      summary = "Show the endpoints of a service, as `mica describe`.",
      text = describe.text,
      examples = { "mica get service posts" },
      parser = describe.parser,
      run = describe.run,
    },
  },
}
