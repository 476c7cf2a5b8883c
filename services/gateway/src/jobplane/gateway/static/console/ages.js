// Keeps "12 s" and "in 3 min" true between refreshes, by the server's clock and with the same words (`words.span`).

const TICK_MS = 1000;
let ahead = 0; // how far this machine's clock is ahead of the server's

function span(seconds) {
  const whole = Math.max(0, Math.trunc(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.trunc(whole / 60)} min`;
  if (whole < 86_400) return `${Math.trunc(whole / 3600)} h ${Math.trunc((whole % 3600) / 60)} min`;
  return `${Math.trunc(whole / 86_400)} d ${Math.trunc((whole % 86_400) / 3600)} h`;
}

function compareClocks() {
  const stamp = document.querySelector("[data-now]")?.dataset.now;
  if (stamp) ahead = Date.now() - Date.parse(stamp);
}

function tick() {
  if (document.hidden) return;
  const now = Date.now() - ahead;
  for (const time of document.querySelectorAll("time[data-age]")) {
    const seconds = (now - Date.parse(time.dateTime)) / 1000;
    const words = seconds >= 0 ? span(seconds) : `in ${span(-seconds)}`;
    if (time.textContent !== words) time.textContent = words;
  }
}

compareClocks();
document.addEventListener("htmx:after:swap", compareClocks);
setInterval(tick, TICK_MS);
