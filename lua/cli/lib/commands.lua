-- The commands: their order in the help, and a line on each. Modules are loaded when they are run.

local commands = {}

---@type { title: string, [integer]: string[] }[]
commands.groups = {
  {
    title = "From an empty folder to a running service",
    { "new", "Make a service to begin with." },
    { "run", "Run a service, or put a new version in its place." },
    { "update", "Put a new version of a service in its place." },
    { "up", "Bring what runs to what mica.json says." },
    { "down", "Stop what mica.json says." },
    { "check", "Find faults in a service without running it." },
    { "types", "Write the types of a service for editors." },
    { "build", "Pack a service into one file." },
  },
  {
    title = "What runs",
    { "services", "List the names of the services." },
    { "status", "Show how services are doing." },
    { "describe", "Show the endpoints of a service." },
    { "get", "`get service` is describe, for those who know it by this name." },
    { "logs", "Show what a service has logged." },
    { "kill", "Stop services." },
    { "scale", "Change the number of instances." },
    { "debug", "Show health and statistics." },
    { "register", "Put a service that runs elsewhere behind the server." },
    { "deregister", "Take such a service out." },
  },
  {
    title = "Calling",
    { "call", "Call an endpoint and print its answer as JSON." },
    { "stream", "The same, for those who know it by this name." },
  },
  {
    title = "Places and the platform",
    { "env", "Choose the server that commands talk to." },
    { "server", "Run the server." },
    { "shutdown", "End the server after its calls have finished." },
    { "cli", "A prompt: each line a command." },
    { "completion", "Print completions for a shell." },
    { "version", "Show the version of this program." },
    { "help", "Show the commands, or how to use one." },
  },
}

---@type string[]
commands.names = {}

---@type table<string, string>
commands.summaries = {}

for _, group in ipairs(commands.groups) do
  for _, command in ipairs(group) do
    table.insert(commands.names, command[1])
    commands.summaries[command[1]] = command[2]
  end
end

--- Is it a command?
---@param word string
---@return boolean
function commands.find(word) return commands.summaries[word] ~= nil end

return commands
