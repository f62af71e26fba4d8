"use strict";
(() => {
  const section = document.getElementById("answers");
  const rows = [...section.querySelectorAll("tbody tr")];
  const buttons = [...section.querySelectorAll("button")];
  const search = section.querySelector("input");
  const slice = section.querySelector("select.slice");
  const challenger = section.querySelector("select.challenger");
  const none = section.querySelector(".none");
  let outcome = "all";

  const text = rows.map((row) => row.textContent.toLowerCase());
  const show = () => {
    const words = search.value.toLowerCase();
    const which = challenger ? Number(challenger.value) : 0;
    const counts = { all: 0, win: 0, tie: 0, loss: 0 };
    let shown = 0;
    rows.forEach((row, index) => {
      const own = (row.dataset.outcomes || "").split(" ")[which];
      const fits = text[index].includes(words)
        && (!slice || !slice.value || row.dataset.slice === slice.value);
      if (fits) {
        counts.all += 1;
        counts[own] += 1;
      }
      row.hidden = !(fits && (outcome === "all" || outcome === own));
      shown += row.hidden ? 0 : 1;
    });
    buttons.forEach((button) => {
      button.setAttribute("aria-pressed", String(button.value === outcome));
      button.querySelector("small").textContent = counts[button.value];
    });
    none.hidden = shown > 0;
  };
  buttons.forEach((button) => button.addEventListener("click", () => {
    outcome = button.value;
    show();
  }));
  search.addEventListener("input", show);
  [slice, challenger].forEach((select) => select && select.addEventListener("change", show));
  section.querySelector(".bar").hidden = false;
  show();
})();
