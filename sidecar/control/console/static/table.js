// Picking rows, and moving through them by arrow keys.
function picks(table) {
  return [...table.querySelectorAll("input[name=key]:not(:disabled)")];
}

function refresh(form) {
  const boxes = picks(form);
  const chosen = boxes.filter((box) => box.checked).length;
  for (const button of form.querySelectorAll("[data-needs-pick]")) {
    button.disabled = chosen === 0;
    button.textContent = chosen ? `Revoke ${chosen} selected…` : "Revoke selected…";
  }
  for (const all of form.querySelectorAll("[data-pick-all]")) {
    all.checked = chosen > 0 && chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
  }
}

function refreshAll() {
  for (const button of document.querySelectorAll("[data-needs-pick]")) refresh(button.form);
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-pick-all]")) {
    for (const box of picks(event.target.closest("table"))) box.checked = event.target.checked;
  }
  if (event.target.matches("[data-pick-all], input[name=key]")) refresh(event.target.form);
});

document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const row = event.target.closest("[data-rows] tbody tr");
  if (!step || !row || event.altKey || event.ctrlKey || event.metaKey) return;
  const next = step > 0 ? row.nextElementSibling : row.previousElementSibling;
  const link = next?.querySelector("a");
  if (!link) return;
  event.preventDefault();
  link.focus();
  link.scrollIntoView({ block: "nearest" });
});

document.addEventListener("live", refreshAll);
refreshAll();
