// Keeps relative times true while a page stays open.
const units = [["y", 31536000], ["mo", 2592000], ["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

function relative(moment, now) {
  const seconds = (now - moment) / 1000;
  if (Math.abs(seconds) < 5) return "just now";
  const [unit, size] = units.find(([, size]) => Math.floor(Math.abs(seconds) / size)) ?? ["s", 1];
  const span = `${Math.floor(Math.abs(seconds) / size)} ${unit}`;
  return seconds > 0 ? `${span} ago` : `in ${span}`;
}

setInterval(() => {
  const now = Date.now();
  for (const time of document.querySelectorAll("time[datetime]")) {
    const text = relative(Date.parse(time.dateTime), now);
    if (time.textContent !== text) time.textContent = text;
  }
}, 20000);

document.documentElement.classList.add("scripted");
