"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const s = data.series;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const light = ["#2f6fed", "#e8850c", "#12805c", "#9446d6", "#d6336c", "#0b8ea5", "#7a5c1e", "#5c6877", "#b3261e"];
  const night = ["#6ea0ff", "#ffae4d", "#3fc692", "#c08af5", "#ff7aa8", "#45c8dd", "#d3b06a", "#a9b5c4", "#ff8a80"];
  const color = (index) => (dark.matches ? night : light)[index % light.length];
  const minutes = s.cloud.map((at) => at / 60);
  const plots = [];
  const sync = uPlot.sync("tenfold");
  const num = (v, digits) => v == null ? "–" : v.toLocaleString("en-US", { maximumFractionDigits: digits });

  // Fault windows lie under the grid of every panel, so that a cause is seen above and below its effect.
  const shade = (named) => ({
    hooks: {
      drawClear: [(u) => {
        const c = u.ctx, { left, top, width, height } = u.bbox;
        c.save();
        c.beginPath();
        c.rect(left, top, width, height);
        c.clip();
        const x = (at) => u.valToPos(at / 60, "x", true);
        for (const w of data.windows) {
          const mid = Math.min(w.to, Math.max(w.revert ?? w.to, w.from));
          c.fillStyle = css("--settle");
          c.fillRect(x(mid), top, x(w.to) - x(mid), height);
          c.fillStyle = css("--fault");
          c.fillRect(x(w.from), top, Math.max(2, x(mid) - x(w.from)), height);
          c.fillStyle = css("--missed");
          c.fillRect(x(w.from), top, Math.max(1, devicePixelRatio), height);
        }
        // What someone did is dashed, and stands apart from what was planned.
        c.strokeStyle = css("--dim");
        c.lineWidth = Math.max(1, devicePixelRatio);
        c.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
        for (const w of data.commands) {
          c.beginPath();
          c.moveTo(x(w.at), top);
          c.lineTo(x(w.at), top + height);
          c.stroke();
        }
        c.restore();
      }],
      draw: [(u) => {
        if (!named) return;
        const c = u.ctx;
        c.save();
        c.font = `600 ${11 * devicePixelRatio}px system-ui, sans-serif`;
        c.textBaseline = "top";
        c.fillStyle = css("--missed");
        for (const w of data.commands) c.fillText((w.steers ? w.did.split(":")[0] : w.did.slice("mark: ".length)).slice(0, 24), u.valToPos(w.at / 60, "x", true) + 5 * devicePixelRatio, u.bbox.top + 18 * devicePixelRatio);
        for (const w of data.windows) c.fillText(w.name, u.valToPos(w.from / 60, "x", true) + 5 * devicePixelRatio, u.bbox.top + 4 * devicePixelRatio);
        c.restore();
      }],
    },
  });

  const axis = (extra) => ({
    stroke: css("--dim"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 },
    font: "11px system-ui, sans-serif", ...extra,
  });
  const width = (el) => Math.max(280, el.clientWidth);

  function chart(id, x, lines, options = {}) {
    const el = typeof id === "string" ? document.getElementById(id) : id;
    if (!el) return;
    if (!lines.length || !x.length) { el.textContent = options.empty || "nothing was recorded"; return; }
    const format = options.format || ((v) => num(v, 1));
    const u = new uPlot({
      width: width(el), height: options.height || 170,
      // The one panel with a right axis needs room there; the others leave it, so that time lines up in all.
      padding: [null, options.right || options.own ? null : 62, null, null],
      cursor: { sync: options.own ? undefined : { key: sync.key }, points: { size: 6 }, y: false },
      legend: { live: true },
      scales: { x: { time: false }, y: { range: options.range || ((u, lo, hi) => [0, (hi || 1) * 1.2]) }, ...(options.scales || {}) },
      axes: [
        axis({ values: (u, v) => v.map((at) => options.own ? `${num(at, 0)} s` : `${num(at, 1)} min`) }),
        axis({ size: 62, values: (u, v) => v.map(options.tick || format), ...(options.whole ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] } : {}) }),
        ...(options.right ? [axis({ side: 1, size: 62, scale: "r", grid: { show: false }, values: (u, v) => v.map((n) => num(n, 0)) })] : []),
      ],
      series: [
        { label: options.own || "cloud time", value: (u, v) => v == null ? "–" : options.own ? `${num(v, 0)} s` : `${num(v, 1)} min` },
        ...lines.map((l, i) => ({
          label: l.label, scale: l.scale || "y", stroke: l.color || color(i), width: l.width || 1.6, dash: l.dash,
          fill: l.fill, paths: l.step ? uPlot.paths.stepped({ align: 1 }) : undefined,
          points: { show: !!options.points, size: 4 }, value: (u, v) => (l.format || format)(v), spanGaps: false,
        })),
      ],
      plugins: options.own ? [] : [shade(!!options.named)],
    }, [x, ...lines.map((l) => l.values)], el);
    plots.push([u, el]);
    if (!options.own) sync.sub(u);
    return u;
  }

  const share = { range: () => [0, 1.03], format: (v) => v == null ? "–" : `${num(v * 100, 1)}%`, tick: (v) => `${num(v * 100, 0)}%` };
  function draw() {
    chart("c-load", minutes, [
      { label: data.closed ? "users" : "in flight", values: s.users, color: color(0), fill: color(0) + "22", format: (v) => num(v, 0) },
      { label: "succeeded/s", values: s.ok, scale: "r", color: color(2), format: (v) => num(v, 0) },
      { label: "intended/s", values: s.intended, scale: "r", color: color(1), dash: [5, 4], format: (v) => num(v, 0) },
    ], { named: true, right: true, scales: { r: { range: (u, lo, hi) => [0, (hi || 1) * 1.2] } }, format: (v) => num(v, 0) });
    const seen = [...s.p50, ...s.p95, ...s.p99].filter((v) => v > 0);
    const least = seen.reduce((a, b) => Math.min(a, b), 1000), most = seen.reduce((a, b) => Math.max(a, b), 1);
    const floor = 10 ** Math.floor(Math.log10(Math.max(0.01, least))), roof = 10 ** Math.ceil(Math.log10(most * 1.05));
    chart("c-latency", minutes, seen.length ? [
      { label: "p50", values: s.p50, color: color(2) }, { label: "p95", values: s.p95, color: color(1) },
      { label: "p99", values: s.p99, color: color(4) },
    ] : [], { scales: { y: { distr: 3, range: () => [floor, roof] } }, tick: (v) => v == null ? "" : num(v, 2), format: (v) => v == null ? "–" : `${num(v, 2)} ms` });
    const kinds = Object.entries(s.errors);
    const lines = kinds.map(([label, values], i) => ({ label, values, color: color(i + 3), fill: color(i + 3) + "33", step: true, format: (v) => num(v, 0) }));
    if (s.dropped.some((n) => n > 0)) lines.push({ label: "not sent", values: s.dropped, color: color(7), dash: [4, 4], step: true });
    chart("c-errors", minutes, lines, { empty: "no request failed", height: 150, format: (v) => num(v, 0) });
    const shares = (of) => Object.entries(of).map(([label, values], i) => ({ label, values, color: color(i) }));
    chart("c-regions", minutes, shares(s.sent), { ...share, height: 150 });
    chart("c-zones", minutes, shares(s.zones), { ...share, height: 150, empty: "no answer said which AZ served it", range: (u, lo, hi) => [0, Math.min(1.03, (hi || 1) * 1.15)] });
    const groups = document.getElementById("c-groups");
    groups.replaceChildren();
    for (const [name, g] of Object.entries(s.groups)) {
      const panel = document.createElement("div"), title = document.createElement("h3"), el = document.createElement("div");
      panel.className = "panel"; el.className = "chart"; title.textContent = `Instances: ${name}`;
      panel.append(title, el); groups.append(panel);
      chart(el, minutes, [
        { label: "desired", values: g.desired, color: color(7), dash: [5, 4], step: true },
        { label: "in service", values: g.in_service, color: color(0), step: true },
        { label: "serving", values: g.serving, color: color(2), step: true },
      ], { height: 140, whole: true, format: (v) => num(v, 0) });
    }
    data.convergence.forEach((c, i) => chart(`c-convergence-${i}`, c.points.map((p) => p[0]),
      [{ label: c.region, values: c.points.map((p) => p[1]), color: color(4), fill: color(4) + "22" }],
      { ...share, own: "since injection", points: true, height: 170 }));
    const ofClass = (name) => color(Object.keys(s.classes).indexOf(name));
    const tried = Object.entries(s.classes).map(([label, c]) => ({ label, values: c.amplification, color: ofClass(label) }));
    chart("c-classes", minutes, tried, { height: 150, format: (v) => v == null ? "–" : `${num(v, 2)}×` });
    data.moves.forEach((m, i) => chart(`c-move-${i}`, m.since,
      m.classes.map((c) => ({ label: c.class, values: c.shares, color: ofClass(c.class) })),
      { ...share, own: "since the new answer", points: true, height: 170 }));
  }
  function redraw() {
    for (const [u] of plots) { sync.unsub(u); u.destroy(); }
    plots.length = 0;
    draw();
  }
  draw();
  dark.addEventListener("change", redraw);
  let pending;
  addEventListener("resize", () => { clearTimeout(pending); pending = setTimeout(() => plots.forEach(([u, el]) => u.setSize({ width: width(el), height: u.height })), 120); });
})();
