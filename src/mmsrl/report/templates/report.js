  const CONFIG = { responsive: true, displayModeBar: false };
  const LOOK = {
    font: { family: "system-ui, sans-serif", size: 13, color: "#1b2330" },
    margin: { l: 60, r: 24, t: 12, b: 48 },
    legend: { orientation: "h", y: -0.22, yanchor: "top" },
    hoverlabel: { align: "left" },
  };
  const GRID = { gridcolor: "#e3e7ec", zeroline: false, automargin: true, ticks: "outside", ticklen: 5, tickcolor: "rgba(0,0,0,0)" };

  function drawFigure(element, figure = JSON.parse(document.getElementById(element.dataset.figure).textContent)) {
    const axes = { xaxis: { ...GRID, ...figure.layout.xaxis }, yaxis: { ...GRID, ...figure.layout.yaxis } };
    const legend = { ...LOOK.legend, ...figure.layout.legend };
    const margin = { ...LOOK.margin, ...figure.layout.margin };
    const log = element.closest(".page").querySelector(`[data-role="log"][data-of="${element.dataset.figure}"]`);
    if (log) axes.yaxis.type = log.checked ? "log" : "linear";
    return plotly().react(element, figure.data, { ...LOOK, ...figure.layout, ...axes, margin, legend }, CONFIG);
  }

  const tissues = new Map();
  for (const root of document.querySelectorAll(".tissue")) tissues.set(root.closest(".page"), new Tissue(root));

  // Figures and tables are made when they come into view.
  const makings = new Map();
  for (const element of document.querySelectorAll("[data-figure]")) makings.set(element, () => drawFigure(element));
  for (const root of document.querySelectorAll("[data-table]")) {
    const page = root.closest(".page");
    const colours = JSON.parse(page.dataset.colours);
    makings.set(root, () => new Table(root, colours, tissues.get(page)).open());
  }
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        watcher.unobserve(target);
        makings.get(target)();
      }
    },
    { rootMargin: "200px" },
  );
  for (const element of makings.keys()) watcher.observe(element);
  for (const box of document.querySelectorAll('[data-role="log"]'))
    box.addEventListener("change", () => drawFigure(box.closest(".page").querySelector(`[data-figure="${box.dataset.of}"]`)));

  // One figure of several, which the reader chooses.
  for (const choice of document.querySelectorAll('[data-role="choose"]')) {
    const of = (kind) => choice.closest(".page").querySelector(`[data-${kind}="${choice.dataset.of}"]`);
    choice.addEventListener("change", async () => {
      const { figure, words } = (await unpack(document.getElementById(choice.dataset.packed)))[choice.value];
      of("said").textContent = words;
      of("figure").setAttribute("aria-label", words);
      drawFigure(of("figure"), figure);
    });
  }

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
    for (const element of makings.keys())
      if (element.dataset.figure && !element.classList.contains("js-plotly-plot")) drawFigure(element);
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  show(false);
