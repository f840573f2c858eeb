// Draws the charts of one run over a common time axis: zooming one zooms all.
(function () {
  "use strict";
  const holder = document.getElementById("charts");
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const height = 220;
  const cursors = uPlot.sync("run");
  let plots = [];
  let range = null; // [from, to] in seconds, null for the whole

  const seconds = run.charts.flatMap((chart) => chart.points[0]);
  const whole = seconds.reduce(([least, most], s) => [Math.min(least, s), Math.max(most, s)], [0, 1]);

  function format(v) {
    if (v == null) return "–";
    const digits = Math.abs(v) >= 100 ? 0 : Math.abs(v) >= 1 ? 2 : 3;
    return v.toLocaleString("en", { maximumFractionDigits: digits }).replaceAll(",", " ");
  }

  // The phases as tints and boundaries, the fault as a red band, behind the lines.
  function drawSpans(u) {
    const { ctx } = u, { left, top, width, height } = u.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    for (const faults of [false, true]) {
      for (const span of run.spans) {
        if (span.Fault !== faults) continue;
        const from = u.valToPos(span.From, "x", true), to = u.valToPos(span.To, "x", true);
        if (span.Fault || span.Measured) {
          ctx.fillStyle = style(span.Fault ? "--fault" : "--measured");
          ctx.fillRect(from, top, Math.max(to - from, 2 * devicePixelRatio), height);
        }
        ctx.fillStyle = style(span.Fault ? "--bad" : "--quiet");
        ctx.fillRect(from, top, devicePixelRatio, height);
      }
    }
    ctx.restore();
  }

  // Their names, over the grid: each on the first row that has room for it, and none beyond the
  // right edge.
  function nameSpans(u) {
    const { ctx } = u, { left, top, width } = u.bbox;
    const gap = 4 * devicePixelRatio, rowHeight = 15 * devicePixelRatio;
    const ends = []; // of the last name in each row
    ctx.save();
    ctx.font = 11 * devicePixelRatio + "px sans-serif";
    ctx.textBaseline = "top";
    ctx.textAlign = "left";
    for (const span of run.spans) {
      const from = Math.max(left, u.valToPos(span.From, "x", true));
      if (from > left + width || u.valToPos(span.To, "x", true) <= left) continue;
      const nameWidth = ctx.measureText(span.Name).width;
      const at = Math.min(from + gap, left + width - nameWidth);
      let row = ends.findIndex((end) => end <= at);
      if (row < 0) row = ends.length;
      ends[row] = at + nameWidth + gap;
      ctx.fillStyle = style(span.Fault ? "--bad" : "--quiet");
      ctx.fillText(span.Name, at, top + 3 * devicePixelRatio + row * rowHeight);
    }
    ctx.restore();
  }

  function zoom(to) {
    range = to;
    const [min, max] = to || whole;
    for (const u of plots) u.setScale("x", { min, max });
  }

  function options(chart, width) {
    const axis = { stroke: style("--quiet"), grid: { stroke: style("--grid"), width: 1 }, ticks: { stroke: style("--grid") } };
    const colours = [style("--series1"), style("--series2")];
    return {
      width, height,
      scales: { x: { time: false, range: (u, min, max) => (min == null ? whole : [min, max]) },
                y: { range: (u, min, max) => [0, max > 0 ? max * 1.2 : 1] } },
      series: [{ label: "seconds", value: (u, v) => format(v) }].concat(chart.names.map((label, i) => ({
        label, stroke: colours[i], width: 2, dash: i ? [6, 4] : undefined, points: { show: chart.points[0].length < 60, size: 4 },
        value: (u, v) => format(v),
      }))),
      axes: [{ ...axis, size: 34 }, { ...axis, size: 80, values: (u, values) => values.map(format) }],
      cursor: { sync: { key: cursors.key }, drag: { x: true, y: false, setScale: false } },
      hooks: {
        drawClear: [drawSpans],
        draw: [nameSpans],
        setSelect: [(u) => {
          if (u.select.width < 8) return;
          zoom([u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")]);
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        }],
      },
    };
  }

  function draw() {
    for (const u of plots) u.destroy();
    holder.replaceChildren();
    plots = run.charts.map((chart) => {
      const section = document.createElement("div");
      section.className = "chart";
      const title = document.createElement("h2");
      title.textContent = chart.title + " (" + chart.unit + ")";
      section.append(title);
      holder.append(section);
      const u = new uPlot(options(chart, holder.clientWidth), chart.points, section);
      u.over.addEventListener("dblclick", () => zoom(null));
      return u;
    });
    zoom(range);
  }

  // A phone cannot drag precisely: a button for each stretch of time.
  function button(label, to) {
    const b = document.createElement("button");
    b.type = "button";
    b.textContent = label;
    b.addEventListener("click", () => zoom(to));
    document.getElementById("zoom").append(b);
  }
  button("whole run", null);
  for (const span of run.spans) {
    const margin = span.Fault ? 1 : 0; // what comes before and after a fault is what one wants to see
    button(span.Name, [span.From - margin, Math.max(span.To, span.From + 0.1) + margin]);
  }

  draw();
  let pending;
  addEventListener("resize", () => { clearTimeout(pending); pending = setTimeout(draw, 100); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
