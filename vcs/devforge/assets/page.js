// Keeps a pull request's page up to date without touching what is being typed.
"use strict";
for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => select.form.submit());
}
const folds = (part) => [...part.querySelectorAll("details")];
const nameOf = (fold) => (fold.closest("article")?.id ?? "") + fold.querySelector("summary").textContent;

async function refresh() {
  if (document.hidden) return;
  try {
    const response = await fetch(location.href);
    if (!response.ok) return;
    const next = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const id of ["head", "comments", "side"]) {
      const have = document.getElementById(id);
      const want = next.getElementById(id);
      if (!have || !want || have.dataset.was === want.innerHTML) continue;
      if (have.dataset.was === undefined && have.innerHTML === want.innerHTML) {
        have.dataset.was = want.innerHTML;
        continue;
      }
      const unfolded = folds(have).filter((fold) => fold.open).map(nameOf);
      have.innerHTML = want.innerHTML;
      for (const fold of folds(have)) fold.open ||= unfolded.includes(nameOf(fold));
      have.dataset.was = want.innerHTML;
    }
  } catch {
    // The forge is away; the next try may find it.
  }
}
if (location.hash === "#unfolded") {
  for (const fold of folds(document.getElementById("comments"))) fold.open = true;
}
if (document.getElementById("comments")) setInterval(refresh, 2000);
