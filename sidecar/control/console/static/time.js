// Keeps relative times true while a page stays open.
const units = [["s", 1, 60], ["min", 60, 60], ["h", 3600, 24], ["d", 86400, 92], ["mo", 2628000, 12], ["y", 31536000, Infinity]];

function relative(moment, now) {
  const seconds = (now - moment) / 1000;
  if (Math.abs(seconds) < 5) return "just now";
  // What lies ahead is rounded: a key made a moment ago for 30 days ends in 30.
  const count = seconds > 0 ? (size) => Math.floor(seconds / size) : (size) => Math.round(-seconds / size);
  const [unit, size] = units.find(([, size, end]) => count(size) < end);
  return seconds > 0 ? `${count(size)} ${unit} ago` : `in ${count(size)} ${unit}`;
}

// By the clock that wrote them: that of this machine may be minutes off, and would tell of things that are still to come.
const ahead = Date.parse(document.documentElement.dataset.now) - Date.now();

setInterval(() => {
  const now = Date.now() + ahead;
  for (const time of document.querySelectorAll("time[datetime]")) {
    const text = relative(Date.parse(time.dateTime), now);
    if (time.textContent !== text) time.textContent = text;
  }
}, 20000);

document.documentElement.classList.add("scripted");
