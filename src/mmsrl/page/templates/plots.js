  // Unpacks base64-encoded, gzipped JSON.
  async function unpack(element) {
    const bytes = Uint8Array.from(atob(element.textContent), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  // Loads Plotly with the first figure, so that pages without figures open at once. If the file is missing, the page says so
  // and shows everything else.
  let loading = null;
  function plotly() {
    loading ??= new Promise((resolve) => {
      const script = document.createElement("script");
      script.src = `${document.body.dataset.assets}/plotly.min.js`;
      script.addEventListener("load", () => resolve(window.Plotly));
      script.addEventListener("error", () => {
        document.documentElement.classList.add("bare");
        resolve(null);
      });
      document.head.append(script);
    });
    return loading;
  }

  const CONFIG = { responsive: true, displayModeBar: false };
  const LOOK = {
    font: { family: "system-ui, sans-serif", size: 13, color: "#1b2330" },
    margin: { l: 60, r: 24, t: 12, b: 48 },
    legend: { orientation: "h", y: -0.22, yanchor: "top" },
    hoverlabel: { align: "left" },
  };
  const GRID = { gridcolor: "#e3e7ec", zeroline: false, automargin: true, ticks: "outside", ticklen: 5, tickcolor: "rgba(0,0,0,0)" };

  async function drawFigure(element, figure = JSON.parse(document.getElementById(element.dataset.figure).textContent)) {
    const library = window.Plotly ?? (await plotly());
    if (!library) return;
    const axes = { xaxis: { ...GRID, ...figure.layout.xaxis }, yaxis: { ...GRID, ...figure.layout.yaxis } };
    const legend = { ...LOOK.legend, ...figure.layout.legend };
    const margin = { ...LOOK.margin, ...figure.layout.margin };
    const log = element.closest(".page").querySelector(`[data-role="log"][data-of="${element.dataset.figure}"]`);
    if (log) axes.yaxis.type = log.checked ? "log" : "linear";
    await library.react(element, figure.data, { ...LOOK, ...figure.layout, ...axes, margin, legend }, CONFIG);
  }
