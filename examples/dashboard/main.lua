local mica = require "mica"

local Dashboard = {}

local weather, news = mica.client "weather", mica.client "news"

-- Two calls at once, joined. If one fails the other is cancelled, and its error is the answer.
function Dashboard.Show(_, req)
  local answers = mica.all {
    weather = function() return weather.Today { city = req.city } end,
    news = function() return news.Latest { city = req.city, limit = 3 } end,
  }
  return {
    sky = answers.weather.sky,
    celsius = answers.weather.celsius,
    headlines = answers.news.headlines,
  }
end

return mica.service {
  handlers = { Dashboard = Dashboard },
  public = true,
  uses = { call = { "weather", "news" } },
}
