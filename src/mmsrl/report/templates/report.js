"use strict";
(() => {
  const CONFIG = { responsive: true, displayModeBar: false };
  const TISSUE_CONFIG = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d"]] };
  const LOOK = {
    font: { family: "system-ui, sans-serif", size: 13, color: "#1b2330" },
    margin: { l: 60, r: 12, t: 12, b: 48 },
    legend: { orientation: "h", y: -0.22, yanchor: "top" },
    hoverlabel: { align: "left" },
  };
  const GRID = { gridcolor: "#e3e7ec", zeroline: false, automargin: true };
  const SCATTER = document.createElement("canvas").getContext("webgl") ? "scattergl" : "scatter";

  // What is packed as base64 of gzipped JSON.
  async function unpack(element) {
    const bytes = Uint8Array.from(atob(element.textContent), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  function drawChart(element, figure, layout = {}) {
    const axes = { xaxis: { ...GRID, ...figure.layout.xaxis }, yaxis: { ...GRID, ...figure.layout.yaxis } };
    return Plotly.newPlot(element, figure.data, { ...LOOK, ...figure.layout, ...axes, ...layout }, CONFIG);
  }

  // Tissue: an image, and spots over it that keep their true size while zooming.
  class Tissue {
    constructor(root) {
      this.root = root;
      this.plot = root.querySelector(".plot");
      this.control = (role) => root.querySelector(`[data-role="${role}"]`);
      this.control("colour").addEventListener("change", () => this.draw());
      this.control("opacity").addEventListener("input", () => this.restyle({ "marker.opacity": this.opacity }));
      this.control("image").addEventListener("change", () => Plotly.relayout(this.plot, { images: this.images() }));
      this.control("in").addEventListener("click", () => this.zoom(0.6));
      this.control("out").addEventListener("click", () => this.zoom(1 / 0.6));
      this.control("reset").addEventListener("click", () => Plotly.relayout(this.plot, this.whole()));
      root.querySelector(".legend").addEventListener("change", () => this.draw());
    }

    get opacity() {
      return Number(this.control("opacity").value);
    }

    async open() {
      this.data ??= await unpack(document.getElementById(this.root.dataset.payload));
      if (!this.root.closest(".page.current")) return; // left while unpacking
      const height = this.height();
      this.plot.style.height = `${height}px`;
      this.size = this.diameter(Math.min(this.plot.clientWidth / this.data.width, height / this.data.height));
      await this.draw(true);
      this.plot.on("plotly_relayout", () => this.fit());
      this.plot.on("plotly_autosize", () => this.fit());
      this.fit();
    }

    // A browser holds few WebGL contexts: a page that is left gives its own back.
    close() {
      Plotly.purge(this.plot);
    }

    height() {
      const { width, height } = this.data;
      return Math.max(240, Math.min((this.plot.clientWidth * height) / width, 0.8 * window.innerHeight, 760));
    }

    whole() {
      return { "xaxis.range": [0, this.data.width], "yaxis.range": [this.data.height, 0] };
    }

    images() {
      if (!this.data.image || !this.control("image").checked) return [];
      const { width, height, image } = this.data;
      return [{ source: image, xref: "x", yref: "y", x: 0, y: 0, sizex: width, sizey: height, sizing: "stretch", layer: "below" }];
    }

    hover(index) {
      const { barcode, domains, domain, values } = this.data;
      const lines = [`<b>${barcode[index]}</b>`, `Domain ${domains[domain[index]]}`];
      for (const [title, column] of Object.entries(values)) lines.push(`${title} ${column[index] ?? "–"}`);
      return lines.join("<br>");
    }

    trace(rows, name, marker) {
      const { x, y, square } = this.data;
      return {
        type: SCATTER,
        mode: "markers",
        name,
        x: rows.map((row) => x[row]),
        y: rows.map((row) => y[row]),
        text: rows.map((row) => this.hover(row)),
        hovertemplate: "%{text}<extra></extra>",
        marker: { size: this.size, symbol: square ? "square" : "circle", opacity: this.opacity, line: { width: 0 }, ...marker },
      };
    }

    traces() {
      const { domain, domains, colors, values } = this.data;
      const shown = [...this.root.querySelectorAll(".legend input")].map((box) => box.checked);
      const title = this.control("colour").value;
      const rows = domain.map((_, row) => row).filter((row) => shown[domain[row]]);
      if (title) {
        const column = values[title];
        const sorted = column.filter((value) => value !== null).sort((a, b) => a - b);
        const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
        const colorbar = { title: { text: title, side: "right" }, thickness: 12, len: 0.8 };
        const range = { cmin: at(0.01), cmax: at(0.99) };
        return [this.trace(rows, title, { color: rows.map((row) => column[row]), colorscale: "Cividis", colorbar, ...range })];
      }
      const members = domains.map(() => []);
      for (const row of rows) members[domain[row]].push(row);
      return domains.flatMap((name, index) =>
        members[index].length ? [this.trace(members[index], name, { color: colors[index] })] : [],
      );
    }

    draw(first = false) {
      const { width, height } = this.data;
      const current = first ? null : this.plot._fullLayout;
      const axis = { visible: false, constrain: "domain" };
      const layout = {
        ...LOOK,
        margin: { l: 0, r: 0, t: 0, b: 0 },
        showlegend: false,
        hovermode: "closest",
        // A finger on the figure scrolls the page; there are buttons to zoom.
        dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
        xaxis: { ...axis, range: current ? current.xaxis.range.slice() : [0, width] },
        yaxis: { ...axis, range: current ? current.yaxis.range.slice() : [height, 0], scaleanchor: "x" },
        images: this.images(),
      };
      return Plotly.react(this.plot, this.traces(), layout, TISSUE_CONFIG);
    }

    restyle(change) {
      Plotly.restyle(this.plot, change);
    }

    // Size of a spot on screen, given the pixels on screen per pixel of the full-resolution image.
    diameter(scale) {
      return Math.max(1.5, this.data.diameter * scale);
    }

    fit() {
      const { xaxis } = this.plot._fullLayout;
      const size = this.diameter(xaxis._length / Math.abs(xaxis.range[1] - xaxis.range[0]));
      if (Math.abs(size / this.size - 1) < 0.01) return;
      this.size = size;
      this.restyle({ "marker.size": size });
    }

    zoom(factor) {
      const { xaxis, yaxis } = this.plot._fullLayout;
      const around = ([from, to]) => {
        const middle = (from + to) / 2;
        return [middle + (from - middle) * factor, middle + (to - middle) * factor];
      };
      Plotly.relayout(this.plot, { "xaxis.range": around(xaxis.range), "yaxis.range": around(yaxis.range) });
    }
  }

  // Figures are drawn when they come into view.
  const drawings = new Map();
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        watcher.unobserve(target);
        drawings.get(target)();
      }
    },
    { rootMargin: "200px" },
  );

  for (const element of document.querySelectorAll(".plot")) {
    const source = element.querySelector("script");
    if (source) {
      const figure = JSON.parse(source.textContent);
      drawings.set(element, () => drawChart(element, figure));
    }
    if (element.dataset.trainingOf) {
      const source = document.querySelector(`script[data-training="${CSS.escape(element.dataset.trainingOf)}"]`);
      const log = element.previousElementSibling.querySelector('[data-role="log"]');
      const layout = () => ({ yaxis: { ...GRID, title: { text: "Loss" }, type: log.checked ? "log" : "linear" } });
      const figure = JSON.parse(source.textContent);
      drawings.set(element, () => drawChart(element, figure, layout()));
      log.addEventListener("change", () => Plotly.react(element, figure.data, { ...LOOK, ...figure.layout, ...layout() }, CONFIG));
    }
  }
  for (const element of drawings.keys()) watcher.observe(element);

  const tissues = new Map();
  for (const root of document.querySelectorAll(".tissue")) tissues.set(root.closest(".page"), new Tissue(root));

  const pages = [...document.querySelectorAll(".page")];
  let current = null;

  function show(focus) {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const page = target?.closest(".page") ?? current ?? pages[0];
    if (page !== current) {
      if (current) {
        current.classList.remove("current");
        tissues.get(current)?.close();
      }
      current = page;
      page.classList.add("current");
      tissues.get(page)?.open();
      for (const link of document.querySelectorAll("nav a")) {
        if (link.hash === `#${page.id}`) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
    }
    if (!focus) return;
    if (target && target !== page) target.scrollIntoView();
    else {
      window.scrollTo(0, 0);
      page.querySelector("h1").focus({ preventScroll: true });
    }
  }

  window.addEventListener("hashchange", () => show(true));
  window.addEventListener("beforeprint", () => {
    for (const [element, draw] of drawings) if (!element.classList.contains("js-plotly-plot")) draw();
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  show(false);
})();
