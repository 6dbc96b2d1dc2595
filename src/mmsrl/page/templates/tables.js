  // A table with search, filters and sorting.
  const FIRST = 12;
  const MORE = 100;
  const LONG = 24; // number of letters from which a cell gets a wide column
  const signed = (value, digits) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(digits);
  const WRITE = {
    domain: (value) => value,
    gene: (value) => value,
    text: (value) => value,
    number: (value) => Number(value.toPrecision(4)).toLocaleString("en"),
    fold: (value) => signed(value, 2),
    percent: (value) => `${signed(100 * value, 1)} %`,
    share: (value) => `${(100 * value).toFixed(0)} %`,
    p: (value) => (value === 0 ? "<1e-300" : value < 0.001 ? value.toExponential(1).replace("-", "−") : value.toFixed(3)),
    yes: (value) => (value ? "yes" : "no"),
  };
  const WORDS = new Set(["domain", "gene", "text", "yes"]);

  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  class Table {
    constructor(root, colours, tissue) {
      Object.assign(this, { root, colours, tissue, sorted: null, shown: FIRST });
    }

    async open() {
      this.columns = await unpack(document.getElementById(this.root.dataset.table));
      this.text = this.columns[0].cells.map((_, row) =>
        this.columns.filter(({ kind }) => WORDS.has(kind) && kind !== "yes").map(({ cells }) => cells[row]).join(" ").toLowerCase(),
      );
      this.search = element("input", { type: "search" });
      const controls = element("div", { class: "controls" }, element("label", {}, "Search ", this.search));
      this.filters = this.columns.filter((column) => column.choose).map((column) => {
        const names = [...new Set(column.cells.map(WRITE[column.kind]))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
        const select = element("select", {}, element("option", { value: "" }, "all"));
        for (const name of names) select.append(element("option", { value: name }, name));
        controls.append(element("label", {}, `${column.title} `, select));
        return { column, select };
      });
      this.count = element("span", { class: "note", "aria-live": "polite" });
      controls.append(this.count);
      this.body = element("tbody");
      const head = element("tr");
      this.heads = this.columns.map((column) => {
        const button = element("button", { type: "button" }, column.title);
        const cell = element("th", { scope: "col", "aria-sort": "none", class: WORDS.has(column.kind) ? "" : "number" }, button);
        button.addEventListener("click", () => this.sort(column));
        head.append(cell);
        return cell;
      });
      const table = element("table", {}, element("thead", {}, head), this.body);
      const scroll = element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": this.root.dataset.caption }, table);
      this.more = element("button", { type: "button", "data-role": "more" });
      this.root.append(controls, scroll, this.more);
      for (const control of [this.search, ...this.filters.map(({ select }) => select)])
        control.addEventListener("input", () => {
          this.shown = FIRST;
          this.fill();
        });
      this.more.addEventListener("click", () => {
        this.shown += MORE;
        this.fill();
      });
      this.fill();
      this.root.classList.add("filled");
    }

    // The first click sorts text from A, numbers from the largest and p-values from the smallest. The next click reverses it.
    sort(column) {
      const natural = WORDS.has(column.kind) || column.kind === "p" ? 1 : -1;
      const direction = this.sorted?.column === column ? -this.sorted.direction : natural;
      this.sorted = { column, direction };
      for (const [index, cell] of this.heads.entries())
        cell.setAttribute("aria-sort", this.columns[index] !== column ? "none" : direction > 0 ? "ascending" : "descending");
      this.fill();
    }

    rows() {
      const words = this.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      const rows = this.text.map((_, row) => row).filter(
        (row) =>
          words.every((word) => this.text[row].includes(word)) &&
          this.filters.every(({ column, select }) => !select.value || WRITE[column.kind](column.cells[row]) === select.value),
      );
      if (this.sorted) {
        const { column: { cells, kind }, direction } = this.sorted;
        const compare = WORDS.has(kind) ? (a, b) => String(a).localeCompare(String(b), "en", { numeric: true }) : (a, b) => a - b;
        rows.sort((a, b) => {
          if (cells[a] === null || cells[b] === null) return (cells[a] === null) - (cells[b] === null); // missing values last
          return direction * compare(cells[a], cells[b]);
        });
      }
      return rows;
    }

    cell({ kind, cells }, row) {
      const value = cells[row];
      const words = value === null ? "–" : WRITE[kind](value);
      const cell = element("td", { class: !WORDS.has(kind) ? "number" : words.length > LONG ? "long" : "" });
      if (kind === "domain" && this.colours[value]) cell.append(element("i", { style: `background:${this.colours[value]}` }));
      if (kind === "gene" && this.tissue?.has(value)) {
        const button = element("button", { type: "button", class: "link", title: `Show ${value} on the tissue` }, words);
        button.addEventListener("click", () => this.tissue.choose(value));
        cell.append(button);
      } else cell.append(words);
      return cell;
    }

    fill() {
      const rows = this.rows();
      const shown = rows.slice(0, this.shown);
      this.body.replaceChildren(...shown.map((row) => element("tr", {}, ...this.columns.map((column) => this.cell(column, row)))));
      const number = (value) => value.toLocaleString("en");
      this.count.textContent = `${number(rows.length)} of ${number(this.text.length)} rows`;
      this.more.hidden = shown.length === rows.length;
      this.more.textContent = `Show ${number(Math.min(MORE, rows.length - shown.length))} more`;
    }
  }
