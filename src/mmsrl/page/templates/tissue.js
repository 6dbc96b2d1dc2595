  let scatter = null;
  const scatterType = () => (scatter ??= document.createElement("canvas").getContext("webgl") ? "scattergl" : "scatter");

  const TISSUE_CONFIG = { displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d"]] };
  const SCALE_HEIGHT = 64; // of the colour bar below a figure, in pixels

  const decode = ({ low, high, steps }) => steps.map((step) => low + (step * (high - low)) / 255);
  // Length of the scale bar: the longest of 1, 2 or 5 times a power of ten that fits a quarter of the width.
  function barUm(width) {
    const power = 10 ** Math.floor(Math.log10(width / 4));
    return Math.max(...[1, 2, 5].map((step) => step * power).filter((um) => um <= width / 4));
  }
  const lengthName = (um) => (um < 1000 ? `${brief(um)} µm` : `${brief(um / 1000)} mm`);

  const brief = (value) => (value === null ? "–" : String(Number(value.toPrecision(4))));

  // Colour range: percentiles 1 and 99, or the full range if these are equal.
  function span(...columns) {
    const sorted = columns.flat().filter((value) => value !== null).sort((a, b) => a - b);
    const at = (share) => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
    if (at(0.99) > at(0.01)) return [at(0.01), at(0.99)];
    return at(1) > at(0) ? [at(0), at(1)] : [at(0), at(0) + 1];
  }

  // The tissue image with spots that keep their true size while zooming. Raw and de-noised expression are drawn side by side.
  class Tissue {
    constructor(root) {
      this.root = root;
      root.inert = true; // until the figure is drawn
      this.panels = [...root.querySelectorAll(".panel")];
      this.plots = this.panels.map((panel) => panel.querySelector(".plot"));
      this.control = (role) => root.querySelector(`[data-role="${role}"]`);
      this.same = this.control("both").querySelector("input");
      this.boxes = [...root.querySelectorAll(".legend input")];
      this.control("colour").addEventListener("change", () => this.draw());
      this.same.addEventListener("change", () => this.draw());
      this.control("opacity").addEventListener("input", () => this.restyle({ "marker.opacity": this.opacity }));
      this.control("image").addEventListener("change", () => this.relayout({ images: this.images(this.chosen()) }));
      this.control("in").addEventListener("click", () => this.zoom(0.6));
      this.control("out").addEventListener("click", () => this.zoom(1 / 0.6));
      this.control("reset").addEventListener("click", () => this.look(this.whole()));
      for (const [role, checked] of [["all", true], ["none", false]])
        this.control(role).addEventListener("click", () => {
          for (const box of this.boxes) box.checked = checked;
          this.draw();
        });
      root.querySelector(".legend").addEventListener("change", () => this.draw());
      for (const plot of this.plots) plot.addEventListener("keydown", (event) => this.key(event));
      window.addEventListener("resize", () => {
        if (this.isOpen && this.plots[0].clientWidth !== this.room) this.draw();
      });
    }

    get opacity() {
      return Number(this.control("opacity").value);
    }

    get drawn() {
      return this.plots.filter((_, index) => !this.panels[index].hidden);
    }

    async open() {
      if (!(await plotly())) return;
      this.data = await unpack(document.getElementById(this.root.dataset.payload));
      this.view = this.whole();
      this.isOpen = true;
      this.root.inert = false;
      await this.draw();
    }

    // Tells whether the figure can show a gene, so that tables can link to it.
    has(gene) {
      return !document.documentElement.classList.contains("bare") && [...this.control("colour").options].some((option) => option.value === `gene:${gene}`);
    }

    async choose(gene) {
      this.control("colour").value = `gene:${gene}`;
      this.root.scrollIntoView();
      this.control("colour").focus({ preventScroll: true });
      await this.draw();
    }

    whole() {
      return { x: [0, this.data.width], y: [this.data.height, 0] };
    }

    // The image is pale under continuous values, whose colours resemble stained tissue.
    images(shown) {
      if (!this.data.image || !this.control("image").checked) return [];
      const { width, height, image } = this.data;
      return [{ source: image, xref: "x", yref: "y", x: 0, y: 0, sizex: width, sizey: height, sizing: "stretch", layer: "below", opacity: shown.columns.length ? 0.35 : 1 }];
    }

    // A scale bar at the lower left of the view, if the pixel size in µm is known.
    bar() {
      const scale = this.data.um_per_px;
      if (!scale) return {};
      const [left, right] = this.view.x;
      const [low, high] = this.view.y;
      const um = barUm((right - left) * scale);
      const [x, y] = [left + 0.02 * (right - left), low + 0.02 * (high - low)];
      const line = (color, width) => ({ type: "line", x0: x, x1: x + um / scale, y0: y, y1: y, line: { color, width } });
      const text = { text: lengthName(um), x, y, xanchor: "left", yanchor: "bottom", yshift: 3, showarrow: false, bgcolor: "rgba(255,255,255,0.7)", font: { size: 12 } };
      return { shapes: [line("#fff", 7), line("#111", 4)], annotations: [text] };
    }

    hover(index, shown) {
      const { barcode, domains, domain, values } = this.data;
      const lines = [`<b>${barcode[index]}</b>`, `Domain ${domains[domain[index]]}`];
      if (shown.gene) for (const { title, column } of shown.columns) lines.push(`${shown.gene}, ${title} ${brief(column[index])}`);
      else for (const [title, column] of Object.entries(values)) lines.push(`${title} ${brief(column[index])}`);
      return lines.join("<br>");
    }

    // The selected values: one column, two for a de-noised gene, none for domains.
    chosen() {
      const [kind, ...rest] = this.control("colour").value.split(":");
      const name = rest.join(":");
      if (kind === "domain") return { title: "Domain", columns: [] };
      if (kind === "value") return { title: name, columns: [{ title: name, column: this.data.values[name] }], label: this.data.labels[name] };
      const { raw, enhanced, words } = this.data.genes[name];
      const columns = [{ title: "raw", column: decode(raw) }];
      if (enhanced) columns.push({ title: "de-noised", column: decode(enhanced) });
      return { title: "Log-normalised expression", gene: name, columns, words };
    }

    trace(rows, name, marker, shown) {
      const { x, y, square } = this.data;
      return {
        type: scatterType(),
        mode: "markers",
        name,
        x: rows.map((row) => x[row]),
        y: rows.map((row) => y[row]),
        text: rows.map((row) => this.hover(row, shown)),
        hovertemplate: "%{text}<extra></extra>",
        marker: { size: this.size, symbol: square ? "square" : "circle", opacity: this.opacity, line: { width: 0 }, ...marker },
      };
    }

    traces(shown, panel) {
      const { domain, domains, colors } = this.data;
      const on = this.boxes.map((box) => box.checked);
      const rows = domain.map((_, row) => row).filter((row) => on[domain[row]]);
      if (shown.columns.length) {
        const { title, column } = shown.columns[panel];
        const range = shown.gene && this.same.checked ? span(...shown.columns.map((one) => one.column)) : span(column);
        const label = shown.gene ? `${shown.gene}, ${title} (${this.data.expression})` : shown.label;
        const colorbar = {
          title: { text: label, side: "bottom", font: { size: 12 } },
          orientation: "h", thickness: 10, len: 0.7, x: 0.5, xanchor: "center", y: 0, yanchor: "top", ypad: 8,
          outlinewidth: 0, nticks: 5,
        };
        const colours = { colorscale: "Cividis", colorbar, cmin: range[0], cmax: range[1] };
        return [this.trace(rows, title, { color: rows.map((row) => column[row]), ...colours }, shown)];
      }
      const members = domains.map(() => []);
      for (const row of rows) members[domain[row]].push(row);
      return domains.flatMap((name, index) =>
        members[index].length ? [this.trace(members[index], name, { color: colors[index] }, shown)] : [],
      );
    }

    async draw() {
      if (!this.isOpen) return; // open() draws the current choice
      const shown = this.chosen();
      const two = shown.columns.length === 2;
      this.panels[1].hidden = !two;
      this.panels[0].querySelector("figcaption").hidden = !shown.gene;
      this.root.querySelector(".panels").classList.toggle("two", two);
      this.control("both").hidden = !two;
      this.control("said").textContent = shown.words ?? "";
      if (!two) Plotly.purge(this.plots[1]);
      const { width, height } = this.data;
      const room = (this.room = this.plots[0].clientWidth);
      const tall = Math.max(200, Math.min((room * height) / width, 0.8 * window.innerHeight, 760));
      const below = shown.columns.length ? SCALE_HEIGHT : 0;
      this.size = this.diameter(Math.min(room / Math.abs(this.view.x[1] - this.view.x[0]), tall / Math.abs(this.view.y[0] - this.view.y[1])));
      const axis = { visible: false, constrain: "domain" };
      for (const [panel, plot] of this.drawn.entries()) {
        const layout = {
          ...LOOK,
          width: room,
          height: tall + below,
          margin: { l: 0, r: 0, t: 0, b: below, autoexpand: false },
          showlegend: false,
          hovermode: "closest",
          // On a touch screen, a finger scrolls the page and buttons zoom.
          dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
          xaxis: { ...axis, range: this.view.x.slice() },
          yaxis: { ...axis, range: this.view.y.slice(), scaleanchor: "x" },
          images: this.images(shown),
          ...this.bar(),
        };
        plot.style.height = `${tall + below}px`;
        const fresh = !plot.classList.contains("js-plotly-plot");
        await Plotly.react(plot, this.traces(shown, panel), layout, TISSUE_CONFIG);
        if (fresh) plot.on("plotly_relayout", () => this.follow(plot));
      }
      this.fit();
    }

    restyle(change) {
      for (const plot of this.drawn) Plotly.restyle(plot, change);
    }

    relayout(change) {
      for (const plot of this.drawn) Plotly.relayout(plot, change);
    }

    // Moves the second figure with the first.
    follow(plot) {
      if (!plot._fullLayout) return;
      const { xaxis, yaxis } = plot._fullLayout;
      const view = { x: xaxis.range.slice(), y: yaxis.range.slice() };
      const moved = ["x", "y"].some((axis) => view[axis].some((edge, end) => Math.abs(edge - this.view[axis][end]) > 0.01));
      if (moved) {
        this.view = view;
        for (const other of this.drawn) if (other !== plot) Plotly.relayout(other, { "xaxis.range": view.x.slice(), "yaxis.range": view.y.slice() });
        this.relayout(this.bar());
      }
      this.fit();
    }

    look(view) {
      this.view = view;
      this.relayout({ "xaxis.range": view.x.slice(), "yaxis.range": view.y.slice(), ...this.bar() });
    }

    // Diameter of a spot in screen pixels, from the number of screen pixels per full-resolution pixel.
    diameter(scale) {
      return Math.max(1.5, this.data.diameter * scale);
    }

    fit() {
      const layout = this.plots[0]._fullLayout;
      if (!layout?.xaxis) return;
      const size = this.diameter(layout.xaxis._length / Math.abs(layout.xaxis.range[1] - layout.xaxis.range[0]));
      if (Math.abs(size / this.size - 1) < 0.01) return;
      this.size = size;
      this.restyle({ "marker.size": size });
    }

    zoom(factor) {
      const around = ([from, to]) => {
        const middle = (from + to) / 2;
        return [middle + (from - middle) * factor, middle + (to - middle) * factor];
      };
      this.look({ x: around(this.view.x), y: around(this.view.y) });
    }

    pan(right, down) {
      const { x, y } = this.view;
      const [dx, dy] = [0.15 * right * (x[1] - x[0]), 0.15 * down * (y[0] - y[1])];
      this.look({ x: x.map((edge) => edge + dx), y: y.map((edge) => edge + dy) });
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const keys = {
        ArrowLeft: () => this.pan(-1, 0),
        ArrowRight: () => this.pan(1, 0),
        ArrowUp: () => this.pan(0, -1),
        ArrowDown: () => this.pan(0, 1),
        "+": () => this.zoom(0.6),
        "=": () => this.zoom(0.6),
        "-": () => this.zoom(1 / 0.6),
        0: () => this.look(this.whole()),
      };
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    }
  }
