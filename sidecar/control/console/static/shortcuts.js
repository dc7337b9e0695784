// Single keys for what is done often. They can be turned off in the preferences.
const list = document.getElementById("shortcut-list");
const on = document.documentElement.dataset.shortcuts === "on";

// The first place that can take the focus would be the link that turns them off.
function show() {
  list.showModal();
  list.querySelector("form button").focus();
}

document.addEventListener("click", (event) => { if (event.target.closest("[data-shortcut-list]")) show(); });

document.addEventListener("keydown", (event) => {
  if (!on || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea, [contenteditable]")) return;
  if (event.key === "?") {
    event.preventDefault();
    show();
    return;
  }
  if (event.key !== "/" && event.key !== "n") return;
  // Whoever may not make keys is led to no refusal.
  if (event.key === "n" && !list.querySelector("[data-creates]")) return;
  const target = document.querySelector(`[data-shortcut="${event.key}"]`);
  event.preventDefault();
  if (target) target.matches("input") ? target.focus() : target.click();
  else location.assign(event.key === "n" ? "/settings/api-keys/new" : "/settings/api-keys");
});
