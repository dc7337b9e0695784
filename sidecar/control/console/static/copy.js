// Copies a secret or a snippet, and says so to everybody.
document.documentElement.classList.add("scripted");

function textOf(element) {
  return "value" in element ? element.value : element.textContent;
}

function tell(text) {
  const place = document.querySelector("[data-copied]") ?? document.getElementById("told");
  place.textContent = "";
  // Said twice in a row, the same words would not be read out again.
  requestAnimationFrame(() => { place.textContent = text; });
}

async function copy(element) {
  const text = textOf(element);
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers keep the clipboard from pages that came without TLS; the old way still works there.
    const selection = element.select ? element : null;
    if (selection) selection.select();
    else getSelection().selectAllChildren(element);
    if (!document.execCommand("copy")) return false;
  }
  return true;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const done = await copy(document.getElementById(button.dataset.copy));
  tell(done ? "Copied to the clipboard." : "The browser does not allow copying here. Select the text and copy it by hand.");
});

document.addEventListener("focusin", (event) => {
  if (event.target.matches("[data-select]")) event.target.select();
});
