// Sends a form once: the answer to a second click would take the place of the first, which alone shows a new secret.
// For some seconds, since nothing tells that a person has stopped the load.
const PATIENCE = 10000;

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (Date.now() - Number(form.dataset.sent ?? 0) < PATIENCE) event.preventDefault();
  else form.dataset.sent = Date.now();
});

// Going back brings a page as it was left; its forms may be sent again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
