-- Answers with what it got, so that mapping.md can say what a request becomes.
local mica = require "mica"

local Mapping = {}

for _, name in ipairs { "Call", "Read", "Shelf", "File", "Newest", "Publish", "Replace", "Change", "Items", "Tags", "Text",
  "Labels", "Remove", "Start", "Report", "Any", "PageOf", "Told" } do
  Mapping[name] = function(_, req) return req end
end

return mica.service {
  handlers = { Mapping = Mapping },
  public = true,
  json = { defaults = false },
  endpoints = {
    ["Mapping.Told"] = {
      path = { "GET /m/told/{id}", "POST /m/told", { "PUT /m/told/{page.cursor}/page", body = "page", response_body = "page" } },
    },
  },
}
