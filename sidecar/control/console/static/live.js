// Brings the numbers of a page up to date without losing the place: only marked parts that changed are
// replaced, and none in which somebody is reading, choosing or typing. It can be paused.
const EVERY = 5000;
const button = document.querySelector("[data-live-toggle]");
let paused = false;

function changed(field) {
  if (!field.matches("select")) return field.value !== field.defaultValue || Boolean(field.checked) !== Boolean(field.defaultChecked);
  const first = [...field.options].find((option) => option.defaultSelected) ?? field.options[0];
  return field.value !== first?.value;
}

// What was typed or chosen and not sent yet is not lost because its writer looks elsewhere for a moment.
function typed(part) {
  return [...part.querySelectorAll("input, textarea, select")].some(changed);
}

function busy(part) {
  return (
    part.contains(document.activeElement) ||
    part.matches(":hover") && part.matches("[data-chart]") ||
    part.querySelector("details[open], input:checked") ||
    typed(part) ||
    !getSelection().isCollapsed && part.contains(getSelection().anchorNode)
  );
}

// A wide table is read where it was scrolled to.
function scrolled(part) {
  return [...part.querySelectorAll(".scroll")];
}

// A form that came back refused has what was typed as what it began with, and a reload would ask for it anew.
function refused() {
  return document.querySelector("form[method=post] [aria-invalid], .alarm + form[method=post]");
}

// A question about keys that were picked on the page before has those in it.
function picked() {
  return document.querySelector("form[method=post] input[type=hidden][name=key]");
}

const ENDED = "Your session has ended. To send what you have typed, sign in again in another tab, then come back to this one.";

function signedOut() {
  if (!typed(document) && !refused() && !picked()) location.reload();
  const told = document.getElementById("told");
  if (told.textContent !== ENDED) told.textContent = ENDED;
}

// A new session, of whoever has signed in again in another tab, takes no form of the one before.
function signedIn(fresh) {
  const told = document.getElementById("told");
  if (told.textContent === ENDED) told.textContent = "You are signed in again, so this can be sent.";
  const csrf = fresh.querySelector("input[name=csrf]");
  if (csrf) document.querySelectorAll("input[name=csrf]").forEach((field) => { field.value = csrf.value; });
}

async function refresh() {
  const answer = await fetch(location.href, { headers: { "X-Sidecar-Live": "1" }, cache: "no-store" });
  if (answer.status === 401) signedOut();
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  signedIn(fresh);
  for (const part of document.querySelectorAll("[data-live][id]")) {
    const next = fresh.getElementById(part.id);
    if (next && next.innerHTML !== part.dataset.seen && !busy(part)) {
      const seen = next.innerHTML;
      const places = scrolled(part).map((each) => each.scrollLeft);
      part.replaceWith(document.adoptNode(next));
      scrolled(next).forEach((each, index) => { each.scrollLeft = places[index] ?? 0; });
      next.dataset.seen = seen;
    }
  }
  document.dispatchEvent(new Event("live"));
}

async function tick() {
  try {
    if (!paused && !document.hidden && !document.querySelector("dialog[open]")) await refresh();
  } catch {
    // The sidecar is away for a moment: the next turn tries again.
  }
  setTimeout(tick, EVERY);
}

if (button) {
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
  });
  setTimeout(tick, EVERY);
}
