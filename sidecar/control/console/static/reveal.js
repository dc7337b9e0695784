// Makes the page of a new secret a dialog that is not closed by mistake: neither Escape, nor a reload, nor a click beside it.
const dialog = document.querySelector("[data-reveal]");
const stored = dialog.querySelector("[data-stored]");

if (stored) {
  dialog.close();
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  // Some browsers let a second Escape through all the same.
  dialog.addEventListener("keydown", (event) => { if (event.key === "Escape") event.preventDefault(); });
  dialog.addEventListener("close", () => dialog.showModal());
  dialog.showModal();
  dialog.querySelector("#secret").focus();

  window.addEventListener("beforeunload", (event) => { if (!stored.checked) event.preventDefault(); });

  // Going back must not bring the secret to the screen again.
  window.addEventListener("pagehide", () => dialog.querySelectorAll("input, pre").forEach((each) => each.remove()));

  // An admin token is offered for no download.
  const link = dialog.querySelector("[data-download]");
  if (link) {
    link.href = URL.createObjectURL(new Blob([`SIDECAR_API_KEY=${dialog.querySelector("#secret").value}\n`], { type: "text/plain" }));
    window.addEventListener("pagehide", () => URL.revokeObjectURL(link.href));
  }
}
