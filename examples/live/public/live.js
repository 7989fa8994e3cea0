const lines = document.getElementById("lines"), text = document.getElementById("text");
const say = (line) => { lines.textContent += line + "\n"; };

// Each message is a text; the close code says how the call ended (1000: well).
const socket = new WebSocket(new URL("talk", location.href.replace(/^http/, "ws")), "mica.json");
socket.onopen = () => say("connected");
socket.onmessage = (event) => { const line = JSON.parse(event.data); say(line.error ? line.error.detail : `${line.number}: ${line.text}`); };
socket.onclose = (event) => say(`ended: ${event.code} ${event.reason}`);
document.getElementById("form").onsubmit = (event) => {
  event.preventDefault();
  socket.send(JSON.stringify({ text: text.value }));
  text.value = "";
};
document.getElementById("end").onclick = () => socket.send(""); // nothing more from us: the service ends

// EventSource comes back by itself when the connection breaks, with the last id.
const ticks = new EventSource("ticks");
ticks.onmessage = (event) => { document.getElementById("ticks").textContent = JSON.parse(event.data).number; };
