// The table of claims: search, two selects, sortable heads. Without JavaScript the whole table is there, unfiltered.
const table = document.querySelector("table.claims");
if (table) {
  const form = document.querySelector(".claims-filter");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const filter = () => {
    const words = form.querySelector("input").value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const chosen = ["kind", "verdict"].every((key) => ["", row.dataset[key]].includes(form.elements[key].value));
      row.hidden = !(chosen && words.every((word) => text.includes(word)));
    }
    form.querySelector("output").value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
  };
  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
    const sign = head.ariaSort === "ascending" ? -1 : 1;
    for (const other of heads) other.ariaSort = "none";
    head.ariaSort = sign > 0 ? "ascending" : "descending";
    const text = (row) => row.cells[column].textContent.trim();
    body.append(...rows.sort((a, b) => sign * text(a).localeCompare(text(b), "en", { numeric: true })));
  }));
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
}
