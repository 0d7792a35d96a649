// Live charts of the last minutes, drawn by uPlot. Colours come from the style sheet, light or dark.
"use strict";

// `least` is the smallest top of the scale: without it noise around nothing would fill the chart.
hotstock.chart = (id, series, format, least) => {
  const KEPT = 600;
  const { byId, write, element } = hotstock;
  const [box, legend] = [byId(id), byId(`${id}-legend`)];
  const data = [[], ...series.map(() => [])];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const values = series.map(({ label, dash }, at) => {
    const swatch = element("i");
    swatch.dataset.series = String(at + 1);
    if (dash) swatch.dataset.dash = "yes";
    const value = element("b", "–");
    legend.append(element("li", swatch, `${label} `, value));
    return value;
  });
  let plot;

  function draw() {
    plot?.destroy();
    const axis = {
      stroke: colour("--muted"), font: "12px system-ui, sans-serif",
      grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false },
    };
    plot = new uPlot({
      width: box.clientWidth, height: 180, legend: { show: false }, cursor: { y: false, points: { size: 6 } },
      padding: [8, 4, 0, 0],
      scales: { y: { range: (_, __, max) => [0, Math.max(max * 1.15, least)] } },
      axes: [
        { ...axis, grid: { show: false }, size: 28, space: 90, values: (_, at) => at.map((s) => hotstock.clock.format(s * 1000)) },
        { ...axis, size: 68, space: 36, values: (_, at) => at.map(format) },
      ],
      series: [{}, ...series.map(({ dash }, at) => ({
        stroke: colour(`--series-${at + 1}`), width: 2, dash, spanGaps: false, points: { show: false },
        fill: at === 0 ? colour("--series-1-fill") : undefined,
      }))],
    }, data, box);
  }

  draw();
  new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: 180 })).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return (atMs, point) => {
    data[0].push(atMs / 1000);
    point.forEach((value, at) => {
      data[at + 1].push(value ?? null);
      write(values[at], value === null || value === undefined ? "–" : format(value));
    });
    if (data[0].length > KEPT) data.forEach((column) => column.shift());
    plot.setData(data);
  };
};
