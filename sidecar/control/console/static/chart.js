// Reads a chart out under the pointer or by arrow keys; the numbers are those of the table behind it.
function read(figure) {
  const heads = [...figure.querySelectorAll("thead th")].slice(1).map((cell) => cell.textContent);
  return [...figure.querySelectorAll("tbody tr")].map((row) => {
    const [name, ...cells] = [...row.cells].map((cell) => cell.textContent);
    return `${name}: ${cells.map((cell, index) => `${heads[index]} ${cell}`).join(", ")}`;
  });
}

function show(figure, plot, index) {
  const rows = read(figure);
  const at = Math.max(0, Math.min(rows.length - 1, index));
  const cursor = plot.querySelector(".cursor");
  cursor.setAttribute("x", String(at * 10));
  cursor.setAttribute("visibility", "visible");
  plot.setAttribute("aria-valuenow", String(at));
  plot.setAttribute("aria-valuetext", rows[at]);
  figure.querySelector("[data-readout]").textContent = rows[at];
}

function hide(figure, plot) {
  plot.querySelector(".cursor").setAttribute("visibility", "hidden");
  figure.querySelector("[data-readout]").textContent = "";
}

function prepare(figure) {
  const plot = figure.querySelector("[data-plot]");
  if (!plot || plot.hasAttribute("role")) return;
  const count = figure.querySelectorAll("tbody tr").length;
  plot.setAttribute("role", "slider");
  plot.setAttribute("tabindex", "0");
  plot.setAttribute("aria-label", plot.dataset.name);
  plot.setAttribute("aria-valuemin", "0");
  plot.setAttribute("aria-valuemax", String(count - 1));
  plot.setAttribute("aria-valuenow", "0");
  plot.setAttribute("aria-valuetext", read(figure)[0] ?? "");
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    show(figure, plot, Math.floor(((event.clientX - box.left) / box.width) * count));
  });
  plot.addEventListener("pointerleave", () => { if (document.activeElement !== plot) hide(figure, plot); });
  plot.addEventListener("blur", () => hide(figure, plot));
  plot.addEventListener("keydown", (event) => {
    const now = Number(plot.getAttribute("aria-valuenow"));
    const next = { ArrowRight: now + 1, ArrowUp: now + 1, ArrowLeft: now - 1, ArrowDown: now - 1, Home: 0, End: count - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    show(figure, plot, next);
  });
  plot.addEventListener("focus", () => show(figure, plot, Number(plot.getAttribute("aria-valuenow"))));
}

function prepareAll() {
  document.querySelectorAll("[data-chart]").forEach(prepare);
}

document.addEventListener("live", prepareAll);
prepareAll();
