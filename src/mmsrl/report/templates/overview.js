  // Filters sections by name, unit, platform or design, and sorts them by a column of the table. The gallery follows the table.
  class Finder {
    constructor(table) {
      this.body = table.tBodies[0];
      this.rows = [...this.body.rows];
      this.pictures = new Map([...document.querySelectorAll(".gallery figure")].map((figure) => [figure.dataset.section, figure]));
      this.heads = [...table.tHead.rows[0].cells];
      for (const [column, head] of this.heads.entries()) {
        const button = element("button", { type: "button" }, head.textContent);
        head.replaceChildren(button);
        head.setAttribute("aria-sort", "none");
        button.addEventListener("click", () => this.sort(column));
      }
      this.search = document.querySelector('[data-role="find"]');
      this.search.addEventListener("input", () => this.find());
    }

    find() {
      const words = this.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of this.rows) {
        row.hidden = !words.every((word) => row.dataset.words.includes(word));
        this.pictures.get(row.dataset.section).hidden = row.hidden;
      }
      for (const group of document.querySelectorAll('[data-role="group"]')) group.hidden = !group.querySelector("figure:not([hidden])");
      const shown = this.rows.filter((row) => !row.hidden).length;
      document.querySelector('[data-role="found"]').textContent = words.length ? `${shown} of ${this.rows.length} sections` : "";
    }

    // The first click sorts in ascending order, so that poor values come first. The next click reverses it. Missing values come last.
    sort(column) {
      const direction = this.heads[column].ariaSort === "ascending" ? -1 : 1;
      for (const [index, head] of this.heads.entries())
        head.setAttribute("aria-sort", index !== column ? "none" : direction > 0 ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const numbers = this.heads[column].classList.contains("number");
      const compare = numbers ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en", { numeric: true });
      this.rows.sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        return a === "" || b === "" ? (a === "") - (b === "") : direction * compare(a, b);
      });
      this.body.append(...this.rows);
      for (const row of this.rows) {
        const picture = this.pictures.get(row.dataset.section);
        picture.parentElement.append(picture);
      }
    }
  }

  if (document.querySelector('[data-role="find"]')) new Finder(document.querySelector("table.sortable"));
