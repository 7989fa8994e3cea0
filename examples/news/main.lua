local mica = require "mica"

local News = {}

local headlines = {
  { city = "Oslo", text = "Ferry on time for a whole year" },
  { city = "Berlin", text = "A tram is named after a cat" },
  { city = "Oslo", text = "Rain expected to go on" },
  { city = "Lagos", text = "The bridge has a new coat of paint" },
}

function News.Latest(_, req)
  local found = {}
  for _, headline in ipairs(headlines) do
    if #found == req.limit then break end
    if headline.city == req.city then found[#found + 1] = headline.text end
  end
  return { headlines = found }
end

return mica.service {
  handlers = { News = News },
  public = true,
  endpoints = { ["News.Latest"] = { validate = { city = "required", limit = { default = 10, max = 100 } } } },
}
