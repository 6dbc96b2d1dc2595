  const tissues = new Map();
  for (const root of document.querySelectorAll(".tissue")) tissues.set(root.closest(".page"), new Tissue(root));

  // Figures and tables are built when they come into view.
  const builders = new Map();
  for (const element of document.querySelectorAll("[data-figure]")) builders.set(element, () => drawFigure(element));
  for (const root of document.querySelectorAll("[data-table]")) {
    const page = root.closest(".page");
    const colours = JSON.parse(page.dataset.colours);
    builders.set(root, () => new Table(root, colours, tissues.get(page)).open());
  }
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        watcher.unobserve(target);
        builders.get(target)();
      }
    },
    { rootMargin: "200px" },
  );
  for (const element of builders.keys()) watcher.observe(element);
  for (const box of document.querySelectorAll('[data-role="log"]'))
    box.addEventListener("change", () => drawFigure(box.closest(".page").querySelector(`[data-figure="${box.dataset.of}"]`)));

  // A select element replaces one figure by another.
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
      current?.classList.remove("current");
      current = page;
      page.classList.add("current");
      for (const link of document.querySelectorAll('nav a[href^="#"]')) {
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
    for (const element of builders.keys())
      if (element.dataset.figure && !element.classList.contains("js-plotly-plot")) drawFigure(element);
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  show(false);
  for (const tissue of tissues.values()) tissue.open();

  // Printing does not wait for the figure library, so load it in advance.
  if (builders.size) window.requestIdleCallback?.(() => plotly());
  // Open the list of sections if there is room beside the page.
  for (const list of document.querySelectorAll("details.sections")) list.open = window.matchMedia("(min-width: 60rem)").matches;
