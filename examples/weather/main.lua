local mica = require "mica"
local errors = mica.errors

local Weather = {}

local cities = {
  Berlin = { sky = "CLOUDS", celsius = 11.5 },
  Lagos = { sky = "CLEAR", celsius = 31 },
  Oslo = { sky = "RAIN", celsius = 4 },
}

function Weather.Today(_, req)
  return cities[req.city] or error(errors.not_found("no weather for %q", req.city))
end

return mica.service {
  handlers = { Weather = Weather },
  public = true,
  endpoints = { ["Weather.Today"] = { validate = { city = "required" } } },
}
