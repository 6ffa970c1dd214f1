"use strict";
// Tables are sorted by a click on a column's head: numbers first from the largest, names from A; what has no value comes last.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const names = new Intl.Collator();
  const sort = (column, ascending) => {
    const number = (row) => parseFloat(row.cells[column].dataset.value);
    const compare = (a, b) => {
      if (column === 0) return names.compare(a.cells[0].textContent, b.cells[0].textContent);
      const [x, y] = [number(a), number(b)];
      if (isNaN(x) || isNaN(y)) return (isNaN(x) - isNaN(y)) * (ascending ? 1 : -1);
      return x - y;
    };
    body.append(...[...body.rows].sort((a, b) => compare(a, b) * (ascending ? 1 : -1)));
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", ascending ? "ascending" : "descending");
  };
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      sort(column, now ? now === "descending" : column === 0);
    });
  });
  sort(1, false);
}
