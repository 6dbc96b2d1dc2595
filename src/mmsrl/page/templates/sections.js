  // Links to the other pages, from the list that the report writes. A page on its own has no such links.
  function link(href, text, attributes = {}) {
    return element("a", { href, ...attributes }, text);
  }

  function showSections({ study, sections }, name) {
    const report = document.querySelector("nav a").getAttribute("href");
    const at = sections.findIndex((section) => section.name === name);
    const address = (section) => `${encodeURIComponent(section.name)}.html`;
    const top = document.querySelector("nav ul");
    const parts = [["", "Overview"], ...(study ? [["#study", "Study"]] : []), ["#methods", "Methods"], ["#provenance", "Parameters and versions"]];
    top.replaceChildren(...parts.map(([hash, title]) => element("li", {}, link(`${report}${hash}`, title))));
    const list = element("ul");
    for (const section of sections) {
      const item = link(address(section), section.name, section.name === name ? { "aria-current": "page" } : {});
      if (section.warnings)
        item.append(" ", element("span", { class: "count", title: `${section.warnings} warnings` }, element("span", { class: "hidden" }, ", warnings: "), String(section.warnings)));
      list.append(element("li", {}, item));
    }
    top.after(element("details", { class: "sections" }, element("summary", {}, `Sections (${sections.length})`), list));
    const way = document.querySelector("[data-role=way]");
    for (const [words, rel, other] of [["← ", "prev", sections[at - 1]], ["", "next", sections[at + 1]]])
      if (at >= 0 && other) way.append(link(address(other), words ? `${words}${other.name}` : `${other.name} →`, { rel }));
    way.hidden = !way.children.length;
  }

  if (window.mmsrlReport) showSections(window.mmsrlReport, document.querySelector(".page").dataset.name);
