// Curves over training steps: several runs overlaid, intervals, zoom by dragging, values on hover, PNG and CSV.
"use strict";

const CHARTS = []; // {title, lines: [[metric, label]], scale, smooth} as the run's own metrics suggest
const COLOURS = ["#3b5bdb", "#e8590c", "#2b8a3e", "#ae3ec9", "#0b7285", "#c92a2a"];
const box = document.getElementById("curves");
const DASHES = ["", "5 3", "1.5 2.5", "9 3 2 3"]; // a pattern for each run
const runs = []; // {name, lines, live}: the run of this page, and those that it is compared with
let view = null; // [from, to] in steps, or all
const SVG = "http://www.w3.org/2000/svg";

function make(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (text !== undefined) node.textContent = text;
  return node;
}

async function load(run) {
  const after = run.lines.length ? run.lines[run.lines.length - 1].step : 0;
  const path = run.name.split("/").map(encodeURIComponent).join("/");
  const answer = await fetch(`/api/metrics/${path}?after=${after}`);
  if (!answer.ok) return false;
  const found = await answer.json();
  run.lines.push(...found.lines);
  run.live = found.live;
  for (const chart of found.charts) add(chart);
  return found.lines.length > 0;
}

function points(run, key, chart) {
  const found = [];
  for (const line of run.lines) {
    if (line[key] === undefined) continue;
    const scale = chart.scale || 1;
    const low = line[key + "/low"], high = line[key + "/high"];
    found.push({ x: line.step, y: line[key] * scale, low: low === undefined ? null : low * scale, high: high === undefined ? null : high * scale });
  }
  const span = chart.smooth ? Number(document.getElementById("smooth").value) : 1;
  if (span < 2) return found;
  let sum = 0;
  return found.map((p, i) => {
    sum += p.y - (i >= span ? found[i - span].y : 0);
    return { ...p, measured: p.y, y: sum / Math.min(i + 1, span) }; // drawn smoothed, read off as measured
  });
}

function nice(low, high) {
  const rough = (high - low) / 4 || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const ticks = [];
  for (let t = Math.ceil(low / step) * step; t <= high + 1e-9; t += step) ticks.push(Number(t.toPrecision(6)));
  return ticks;
}

function draw(chart) {
  const W = 400, H = 170, L = 38, R = 8, T = 8, B = 22;
  const series = [];
  runs.forEach((run, r) => chart.lines.forEach(([key, label], i) => {
    const found = points(run, key, chart).filter((p) => !view || (p.x >= view[0] && p.x <= view[1]));
    if (found.length) series.push({ label: r ? `${label} (${run.name})` : label, colour: COLOURS[i % COLOURS.length], dash: DASHES[r % DASHES.length], points: found });
  }));
  chart.node.hidden = !series.length;
  if (!series.length) return;
  const xs = series.flatMap((s) => s.points.map((p) => p.x)), ys = series.flatMap((s) => s.points.flatMap((p) => [p.low ?? p.y, p.high ?? p.y]));
  let [x0, x1] = view || [Math.min(...bounds(xs)), Math.max(...bounds(xs))], [y0, y1] = bounds(ys);
  if (x0 === x1) { x0 -= 1; x1 += 1; }
  const room = (y1 - y0) * 0.08 || Math.abs(y1) * 0.1 || 1;
  y0 -= room; y1 += room;
  if (y0 < 0 && Math.min(...bounds(ys)) >= 0) y0 = 0;
  const X = (x) => L + ((x - x0) / (x1 - x0)) * (W - L - R), Y = (y) => H - B - ((y - y0) / (y1 - y0)) * (H - T - B);
  const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${chart.title} over steps` });
  for (const t of nice(y0, y1)) {
    svg.append(make("line", { class: "grid", x1: L, x2: W - R, y1: Y(t), y2: Y(t) }));
    svg.append(make("text", { x: L - 5, y: Y(t) + 3, "text-anchor": "end" }, t));
  }
  for (const t of nice(x0, x1)) svg.append(make("text", { x: X(t), y: H - 6, "text-anchor": "middle" }, t));
  for (const s of series) {
    const banded = s.points.filter((p) => p.low !== null);
    if (banded.length > 1) {
      const edge = [...banded.map((p) => `${X(p.x)},${Y(p.high)}`), ...banded.reverse().map((p) => `${X(p.x)},${Y(p.low)}`)];
      svg.append(make("polygon", { points: edge.join(" "), fill: s.colour, opacity: 0.13 }));
    }
    svg.append(make("polyline", { points: s.points.map((p) => `${X(p.x).toFixed(1)},${Y(p.y).toFixed(1)}`).join(" "), fill: "none", stroke: s.colour, "stroke-width": 1.6, ...(s.dash ? { "stroke-dasharray": s.dash } : {}) }));
    if (s.points.length < 25) for (const p of s.points) svg.append(make("circle", { cx: X(p.x), cy: Y(p.y), r: 2.3, fill: s.colour }));
  }
  const mark = make("line", { class: "hover", y1: T, y2: H - B, visibility: "hidden" }), pick = make("rect", { class: "sel", y: T, height: H - T - B, width: 0 });
  svg.append(pick, mark);
  const stepAt = (event) => { const b = svg.getBoundingClientRect(); return x0 + (((event.clientX - b.left) / b.width) * W - L) / (W - L - R) * (x1 - x0); };
  const show = (at) => chart.legend.replaceChildren(...(at === null ? [] : [`step ${Math.round(at)}`]), ...series.map((s) => {
    const p = at === null ? s.points[s.points.length - 1] : s.points.reduce((a, b) => (Math.abs(b.x - at) < Math.abs(a.x - at) ? b : a));
    const node = document.createElement("span"), dash = document.createElement("i");
    dash.style.background = s.colour;
    const band = p.low === null ? "" : ` [${p.low.toPrecision(3)}, ${p.high.toPrecision(3)}]`;
    node.append(dash, `${s.label} ${Number((p.measured ?? p.y).toPrecision(4))}${band}`);
    return node;
  }));
  let from = null;
  svg.addEventListener("pointermove", (event) => {
    const at = Math.min(Math.max(stepAt(event), x0), x1);
    mark.setAttribute("x1", X(at)); mark.setAttribute("x2", X(at)); mark.setAttribute("visibility", "visible");
    if (from !== null) { pick.setAttribute("x", X(Math.min(from, at))); pick.setAttribute("width", Math.abs(X(at) - X(from))); }
    show(at);
  });
  svg.addEventListener("pointerleave", () => { mark.setAttribute("visibility", "hidden"); from = null; pick.setAttribute("width", 0); show(null); });
  svg.addEventListener("pointerdown", (event) => { from = Math.min(Math.max(stepAt(event), x0), x1); });
  svg.addEventListener("pointerup", (event) => {
    const to = Math.min(Math.max(stepAt(event), x0), x1), width = Math.abs(to - from);
    if (from !== null && width > (x1 - x0) / 50) { view = [Math.min(from, to), Math.max(from, to)]; drawAll(); }
    from = null;
  });
  svg.addEventListener("dblclick", () => { view = null; drawAll(); });
  chart.plot.replaceChildren(svg);
  show(null);
}

function bounds(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
  return [low, high];
}

function drawAll() { CHARTS.forEach(draw); }

function save(name, url) {
  const a = document.createElement("a");
  a.href = url; a.download = name;
  a.click();
}

function png(chart) {
  const svg = chart.plot.querySelector("svg").cloneNode(true), style = getComputedStyle(document.documentElement);
  svg.setAttribute("xmlns", SVG); svg.setAttribute("width", 1200); svg.setAttribute("height", 510);
  svg.querySelectorAll("text").forEach((t) => t.setAttribute("fill", style.getPropertyValue("--soft")));
  svg.querySelectorAll("text").forEach((t) => t.setAttribute("font-size", "10"));
  svg.querySelectorAll(".grid").forEach((g) => g.setAttribute("stroke", style.getPropertyValue("--line")));
  svg.querySelectorAll(".sel, .hover").forEach((g) => g.remove());
  const image = new Image(), canvas = document.createElement("canvas");
  image.onload = () => {
    canvas.width = 1200; canvas.height = 510;
    const ink = canvas.getContext("2d");
    ink.fillStyle = style.getPropertyValue("--paper"); ink.fillRect(0, 0, 1200, 510); ink.drawImage(image, 0, 0);
    canvas.toBlob((blob) => save(`${chart.title.replace(/[^a-z]+/gi, "_")}.png`, URL.createObjectURL(blob)));
  };
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(new XMLSerializer().serializeToString(svg));
}

function csv() {
  const keys = [...new Set(runs.flatMap((run) => run.lines.flatMap((line) => Object.keys(line))))].filter((k) => k !== "step");
  const quoted = (name) => (/[",\n]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name);
  const rows = runs.flatMap((run) => run.lines.map((line) => [quoted(run.name), line.step, ...keys.map((k) => line[k] ?? "")].join(",")));
  save("metrics.csv", URL.createObjectURL(new Blob([["run", "step", ...keys].join(","), "\n", rows.join("\n")], { type: "text/csv" })));
}

// A chart that is not there yet, or another line in one that is.
function add(chart) {
  const known = CHARTS.find((one) => one.title === chart.title);
  if (known) {
    for (const line of chart.lines) if (!known.lines.some(([key]) => key === line[0])) known.lines.push(line);
    return;
  }
  CHARTS.push(chart);
  chart.node = document.createElement("div"); chart.node.className = "chart"; chart.node.hidden = true;
  const head = document.createElement("h3"), button = document.createElement("button");
  head.append(chart.title); button.type = "button"; button.textContent = "PNG"; button.setAttribute("aria-label", `Save ${chart.title} as a PNG`);
  button.addEventListener("click", () => png(chart));
  head.append(button);
  chart.plot = document.createElement("div"); chart.legend = document.createElement("div"); chart.legend.className = "legend"; chart.legend.setAttribute("aria-live", "off");
  chart.node.append(head, chart.plot, chart.legend);
  box.append(chart.node);
}

document.getElementById("smooth").addEventListener("input", drawAll);
document.getElementById("reset").addEventListener("click", () => { view = null; drawAll(); });
document.getElementById("csv").addEventListener("click", csv);
// Others that are laid over this run: chosen one by one, each with a button that takes it away, all of them in the address.
const compare = document.getElementById("compare"), overlaid = document.getElementById("overlaid");

async function overlay(name) {
  if (runs.some((run) => run.name === name) || ![...compare.options].some((o) => o.value === name)) return;
  const other = { name, lines: [] }, button = document.createElement("button");
  runs.push(other);
  button.type = "button"; button.textContent = `${name} ×`; button.setAttribute("aria-label", `Take ${name} away`);
  button.addEventListener("click", () => { runs.splice(runs.indexOf(other), 1); button.remove(); keepAddress(); drawAll(); });
  overlaid.append(button);
  await load(other);
}

function keepAddress() {
  const address = new URL(location);
  address.searchParams.delete("with");
  for (const run of runs.slice(1)) address.searchParams.append("with", run.name);
  history.replaceState(null, "", address);
}

if (compare) compare.addEventListener("change", async () => {
  await overlay(compare.value);
  compare.value = "";
  keepAddress();
  drawAll();
});

(async () => {
  runs.push({ name: box.dataset.run, lines: [], live: box.dataset.live === "1" });
  await load(runs[0]);
  if (compare) for (const name of new URL(location).searchParams.getAll("with")) await overlay(name);
  drawAll();
  box.dataset.ready = "1";
  const again = async () => {
    if (runs[0].live && !document.hidden) {
      if (await load(runs[0])) { document.getElementById("nothing")?.remove(); drawAll(); }
      if (!runs[0].live) { document.getElementById("live")?.remove(); location.reload(); return; }
    }
    setTimeout(again, 1500);
  };
  setTimeout(again, 1500);
})();
