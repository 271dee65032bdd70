// The page on the variance of a code: knobs, picture, numbers. The arithmetic is in variance.js, the codes in codes.js.
"use strict";
(() => {
  const data = globalThis.dmashCodes, $ = (id) => document.getElementById(id);
  if (!data) { // opened where it is kept, not where `make explore` puts it
    document.querySelector("main").textContent = "This copy of the page has no data: run make explore and open build/play/variance.html.";
    return;
  }
  const make = (tag, attributes = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), attributes);
    node.append(...children);
    return node;
  };
  const PARTS = { "within-context": ["within-context noise", "#56b4e9"], "within-mode": ["within-mode spread", "#e69f00"], "between-mode": ["between-mode separation", "#0072b2"] };
  const VACUOUS = 10; // a bound this many times the exact variance says nothing of it
  const said = (v) => {
    if (v === 0) return "0";
    const size = Math.abs(v);
    return size >= 1e5 || size < 1e-3 ? v.toExponential(1).replace("e+", "e") : String(+v.toPrecision(size >= 1000 ? 4 : 3));
  };

  // ---- codes: decoded once; the knobs at which they stay as they are
  const usual = Object.fromEntries(data.knobs.map(({ name, value }) => [name, value]));
  const presets = { synthetic: { name: "synthetic", samples: null, knobs: usual } };
  for (const one of data.codes) {
    const samples = dmash.samples(one);
    presets[one.key] = { name: `${one.name}, seed ${one.seed}, ${one.steps.toLocaleString("en")} steps`, samples, knobs: dmash.measure(samples) };
  }

  // ---- the state: all that the address says; whatever is not in it is the default
  let state, found;
  const ranges = () => data.knobs.map((knob) => { // learned codes are scaled to up to three times what they are
    const value = presets[state.codes].knobs[knob.name], scaled = presets[state.codes].samples && ["noise", "spread", "separation"].includes(knob.name);
    const high = scaled && value > 0 ? +(3 * value).toPrecision(2) : knob.high;
    return { ...knob, value, high, step: scaled && value > 0 ? high / 100 : knob.step };
  });
  const read = () => {
    const given = new URLSearchParams(location.hash.slice(1)), codes = given.get("codes");
    state = { codes: Object.hasOwn(presets, codes) ? codes : data.start || "synthetic", seed: 0 };
    const number = (name, low, high, fallback) => {
      const text = given.get(name);
      return text && Number.isFinite(+text) ? Math.min(Math.max(+text, low), high) : fallback;
    };
    state.seed = Math.round(number("seed", 0, 999999, 0));
    for (const { name, low, high, value } of ranges()) state[name] = number(name, low, high, value);
    state.dim = presets[state.codes].samples ? presets[state.codes].knobs.dim : Math.round(state.dim);
  };
  const remember = () => {
    const words = new URLSearchParams(), first = { codes: data.start || "synthetic", seed: 0, ...presets[state.codes].knobs };
    for (const [name, value] of Object.entries(state)) if (value !== first[name]) words.set(name, typeof value === "number" ? +value.toPrecision(6) : value);
    history.replaceState(null, "", `#${words}`);
  };

  // ---- the picture, one SVG whose colours are written into it, so that a copy of it is complete
  const octave = (value, low) => { // limits that seldom move
    for (let step = low; ; step *= 2) for (const m of [1, 1.5]) if (m * step >= value) return m * step;
  };
  const ticksOf = (limit) => {
    const raw = limit / 4, unit = 10 ** Math.floor(Math.log10(raw)), step = unit * [1, 2, 5, 10].find((m) => m * unit >= raw * 0.999);
    return Array.from({ length: Math.floor(limit / step + 1e-9) + 1 }, (_, i) => +(i * step).toPrecision(6));
  };
  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    return Object.fromEntries(["page", "text", "soft", "line", "grid", "upright", "inverted"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  };
  const sketch = (width) => {
    const { law, numbers } = found, ink = colours(), wide = width >= 600, parts = [];
    const put = (tag, at, text) => parts.push(`<${tag} ${Object.entries(at).map(([k, v]) => `${k}="${typeof v === "number" ? +v.toFixed(2) : v}"`).join(" ")}${text === undefined ? "/>" : `>${text}</${tag}>`}`);
    const write = (x, y, text, more = {}) => put("text", { x, y, fill: ink.text, "font-size": 13, ...more }, text);
    const line = (x1, y1, x2, y2, more = {}) => put("line", { x1, y1, x2, y2, stroke: ink.soft, "stroke-width": 1, ...more });
    const bar = (x, y, w, h, fill, name) => put("rect", { x, y, width: Math.max(w, 0), height: h, fill, "data-bar": name });

    // codes
    const side = wide ? Math.min(0.42 * width, 380) : Math.min(width, 360), flat = dmash.plane(law);
    const reach = octave(Math.max(...flat.flat().map(Math.abs)), 2 ** -6), frame = { x: 34, y: 24, size: side - 40 };
    const place = ([a, b]) => [frame.x + (frame.size * (a / reach + 1)) / 2, frame.y + (frame.size * (1 - b / reach)) / 2];
    write(0, 14, "Codes, two principal axes", { "font-weight": 600 });
    put("rect", { x: frame.x, y: frame.y, width: frame.size, height: frame.size, fill: "none", stroke: ink.line });
    for (const v of [-reach / 2, 0, reach / 2]) {
      const [x, y] = place([v, v]);
      write(x, frame.y + frame.size + 15, said(v), { "text-anchor": "middle", "font-size": 11, fill: ink.soft });
      write(frame.x - 5, y + 4, said(v), { "text-anchor": "end", "font-size": 11, fill: ink.soft });
      line(x, frame.y + frame.size, x, frame.y + frame.size + 4);
      line(frame.x - 4, y, frame.x, y);
    }
    flat.forEach((at, i) => {
      const [x, y] = place(at), w = law.weight[i], up = law.mode[w.indexOf(Math.max(...w))] > 0;
      if (up) put("circle", { cx: x, cy: y, r: 2.6, fill: ink.upright, "fill-opacity": 0.6 });
      else put("path", { d: `M${x.toFixed(1)} ${(y - 3.4).toFixed(1)}l3.2 5.6h-6.4z`, fill: ink.inverted, "fill-opacity": 0.6 });
    });
    if (numbers.pair) {
      const [a, b] = numbers.pair.codes.map((i) => place(flat[i]));
      line(...a, ...b, { stroke: ink.text, "stroke-width": 1.5, "data-pair": numbers.pair.codes.join() });
      for (const [x, y] of [a, b]) put("circle", { cx: x, cy: y, r: 6, fill: "none", stroke: ink.text, "stroke-width": 1.5 });
    }
    let y = frame.y + frame.size + 34;
    put("circle", { cx: frame.x + 4, cy: y - 4, r: 3.5, fill: ink.upright });
    write(frame.x + 12, y, "upright", { "font-size": 12 });
    put("path", { d: `M${frame.x + 76} ${y - 8.5}l4.2 7.4h-8.4z`, fill: ink.inverted });
    write(frame.x + 85, y, "inverted", { "font-size": 12 });
    put("circle", { cx: frame.x + 155, cy: y - 4, r: 5, fill: "none", stroke: ink.text, "stroke-width": 1.5 });
    write(frame.x + 165, y, "sets L", { "font-size": 12 });
    const left = wide ? side + 24 : 0, end = width - 4, bottom = y + 10;
    y = wide ? 14 : bottom + 20;

    const axis = (from, to, limit, top, low, cut = Infinity) => { // ticks from 0 to limit, grid lines behind the bars
      for (const v of ticksOf(limit)) {
        const x = from + ((to - from) * v) / limit;
        if (v > cut) continue;
        line(x, top, x, low, { stroke: ink.grid });
        write(x, low + 13, said(v), { "text-anchor": v === 0 ? "start" : "middle", "font-size": 11, fill: ink.soft });
      }
    };
    // the three terms
    write(left, y, `tr Cov(Z) = ${said(numbers.variability)}`, { "font-weight": 600 });
    const total = octave(1.02 * numbers.variability, 2 ** -10), across = end - left - 14;
    axis(left, left + across, total, y + 8, y + 32);
    let x = left;
    for (const [name, [, colour]] of Object.entries(PARTS)) {
      bar(x, y + 10, (across * numbers[name]) / total, 20, colour, name);
      x += (across * numbers[name]) / total;
    }
    y += 62;
    for (const [name, [title, colour]] of Object.entries(PARTS)) {
      put("rect", { x: left, y: y - 10, width: 11, height: 11, fill: colour });
      write(left + 17, y, `${title} ${said(numbers[name] > 1e-12 ? numbers[name] : 0)}`, { "font-size": 12 });
      y += 17;
    }
    // gradient variance: measured, exact, bound; a bound beyond twice the others is broken, with a zigzag
    y += 17;
    write(left, y, "tr Cov(g)", { "font-weight": 600 });
    const from = left + 68, half = 1.96 * numbers.error, most = 1.05 * Math.max(numbers.variance, numbers.measured + half);
    const broken = numbers.bound > 2.5 * most, limit = octave(broken ? most : Math.max(most, 1.02 * numbers.bound), 1);
    const whole = end - from - 14, to = from + (broken ? 0.6 : 1) * whole, scale = (to - from) / limit, top = y + 8;
    axis(from, to, limit, top, top + 3 * 44 - 8);
    const squared = numbers.L ** 2, rows = {
      measured: [[["measured", numbers.measured, "#8a8a8a"]], `${said(numbers.measured)} \u00b1 ${said(half)} (95 %)`],
      exact: [[["unexplained", numbers.unexplained, "#b5b5b5"], ["explained", numbers.explained, "#cc79a7"]], said(numbers.variance)],
      bound: [[["unexplained", numbers.unexplained, "#b5b5b5"], ...Object.entries(PARTS).map(([name, [, colour]]) => [`bound-${name}`, squared * numbers[name], colour])], `${said(numbers.bound)}${broken ? ", beyond the axis" : ""}`],
    };
    Object.entries(rows).forEach(([name, [stack, value]], i) => {
      const at = top + 44 * i;
      write(left, at + 15, name);
      let base = 0;
      const beyond = [];
      for (const [part, height, colour] of stack) {
        const inside = name === "bound" && broken ? Math.min(Math.max(limit - base, 0), height) : height;
        if (inside > 0) bar(from + scale * base, at, scale * inside, 18, colour, `${name}:${part}`);
        if (height > inside) beyond.push([height - inside, colour, part]);
        base += height;
      }
      if (beyond.length) { // what is left, in its shares and not to scale
        const all = beyond.reduce((sum, [height]) => sum + height, 0);
        let cursor = to + 12;
        for (const [height, colour, part] of beyond) {
          const w = ((from + whole - to - 12) * height) / all;
          bar(cursor, at, w, 18, colour, `beyond:${part}`);
          cursor += w;
        }
        put("path", { d: [0, 7].map((shift) => `M${to + 1 + shift} ${at - 3}l4 6l-4 6l4 6l-4 6`).join(""), fill: "none", stroke: ink.text, "stroke-width": 1.5, "data-break": "bound" });
      }
      if (name === "measured") {
        const [low, high] = [numbers.measured - half, numbers.measured + half].map((v) => from + scale * Math.max(v, 0));
        line(low, at + 9, high, at + 9, { stroke: ink.text, "stroke-width": 2, "data-error": half.toFixed(4) });
        for (const edge of [low, high]) line(edge, at + 4, edge, at + 14, { stroke: ink.text, "stroke-width": 2 });
      }
      write(from + 2, at + 31, value, { "font-size": 12, fill: ink.soft, stroke: ink.page, "stroke-width": 3, "paint-order": "stroke" });
    });
    y = top + 3 * 44 + 22;
    for (const [colour, title] of [["#b5b5b5", "not explained by the code"], ["#cc79a7", "explained"]]) {
      put("rect", { x: left + (title === "explained" ? 190 : 0), y: y - 10, width: 11, height: 11, fill: colour });
      write(left + 17 + (title === "explained" ? 190 : 0), y, title, { "font-size": 12 });
    }
    y += 30;
    write(left, y, `I(Z; C) = ${said(numbers.information)} nats (dotted: ln 2)`, { "font-weight": 600 });
    const nats = octave(Math.max(numbers.information, Math.log(2)) * 1.05, 1), ln2 = left + (across * Math.log(2)) / nats;
    axis(left, left + across, nats, y + 8, y + 32);
    bar(left, y + 10, (across * numbers.information) / nats, 20, "#009e73", "information");
    line(ln2, y + 7, ln2, y + 36, { stroke: ink.text, "stroke-width": 2, "stroke-dasharray": "2 3" });
    const height = Math.max(bottom, y + 52);
    return `<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, 'DejaVu Sans', sans-serif"><rect width="100%" height="100%" fill="${ink.page}"/>${parts.join("")}</svg>`;
  };

  // ---- words
  const settings = () => `${presets[state.codes].name}; ${data.knobs.map(({ name, title }) => `${title} ${said(state[name])}`).join("; ")}; draws ${state.seed}`;
  const verdict = ({ a15, variance, bound }) => {
    const exact = a15 === 0 ? "exactly" : `to 1e${Math.ceil(Math.log10(a15))}`;
    const holds = variance <= bound * (1 + 1e-9) ? "holds" : "fails";
    return `A.15 ${a15 < 1e-9 ? `holds ${exact}` : `fails by ${said(a15)}`}, A.17 ${holds}, ratio ${said(bound / variance)}`;
  };
  const reason = ({ law, numbers: { pair, L, variability, variance, bound } }) => {
    if (!pair) return "All codes coincide or share one mean gradient: L is 0, and the bound is the variance that no code explains.";
    const who = pair.codes.map((i) => {
      const w = law.weight[i], c = w.indexOf(Math.max(...w));
      return `${law.mode[c] > 0 ? "an upright" : "an inverted"} world of mass ${said(law.mass[c])}`;
    });
    const where = `one pair of codes ${said(pair.distance)} apart (the codes' rms distance from their mean is ${said(Math.sqrt(variability))}), ${who[0] === who[1] ? `both most likely from ${who[0]}` : `most likely from ${who[0]} and from ${who[1]}`}, whose mean gradients differ by ${said(L * pair.distance)}`;
    if (bound <= VACUOUS * variance) return `L = ${said(L)} is set by ${where}.`;
    return `The bound is vacuous here, at ${said(bound / variance)} times the exact variance: it multiplies tr Cov(Z) by L\u00b2, and L = ${said(L)} is the slope between ${where}.`;
  };
  const TABLE = [
    ...Object.entries(PARTS).map(([key, [title]]) => [key, title]), ["variability", "tr Cov(Z)"], ["measured", "tr Cov(g), 4,000 sampled gradients"],
    ["error", "its standard error"], ["variance", "tr Cov(g), exact"], ["unexplained", "not explained by the code"], ["explained", "explained by the code"],
    ["bound", "bound of A.17"], ["L", "Lipschitz constant L"], ["information", "I(Z; C), nats"], ["a15", "A.15, relative error"],
  ];
  const shown = (key, v) => (key === "a15" || v > 1e-12 ? v : 0); // less is rounding

  const redraw = () => {
    const began = performance.now(), { codes, seed, ...knobs } = state;
    found = dmash.account(knobs, presets[codes].samples, seed);
    const { numbers } = found;
    paint();
    $("line").textContent = verdict(numbers);
    $("why").textContent = reason(found);
    $("numbers").tBodies[0].replaceChildren(...TABLE.map(([key, title]) => {
      const cell = make("td", { textContent: said(shown(key, numbers[key])) });
      cell.dataset.number = key;
      return make("tr", {}, make("td", { textContent: title }), cell);
    }));
    globalThis.dmashVariance = { state, ...found, took: performance.now() - began }; // for the tests
  };
  const paint = () => {
    $("picture").innerHTML = sketch(Math.max($("picture").clientWidth, 280));
    const { numbers } = found, terms = Object.entries(PARTS).map(([key, [title]]) => `${title} ${said(shown(key, numbers[key]))}`).join(", ");
    $("picture").firstChild.setAttribute("aria-label", `300 codes in a plane. tr Cov(Z) ${said(numbers.variability)}: ${terms}. tr Cov(g): measured ${said(numbers.measured)} plus or minus ${said(1.96 * numbers.error)}, exact ${said(numbers.variance)}, bound ${said(numbers.bound)}. Information ${said(numbers.information)} nats.`);
  };

  // ---- controls
  let waiting = 0;
  const changed = () => { // one computation a frame, however fast a slider moves
    if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; remember(); redraw(); });
  };
  const sliders = {};
  const show = () => {
    $("codes").value = state.codes;
    $("seed").value = state.seed;
    for (const { name, low, high, step } of ranges()) {
      const { input, output } = sliders[name];
      Object.assign(input, { min: low, max: high, step, value: state[name], disabled: name === "dim" && !!presets[state.codes].samples });
      output.textContent = said(state[name]);
    }
  };
  for (const { name, title } of data.knobs) {
    const input = make("input", { type: "range", id: `knob-${name}` }), output = make("output");
    sliders[name] = { input, output };
    input.addEventListener("input", () => { state[name] = +input.value; output.textContent = said(state[name]); changed(); });
    $("sliders").append(make("label", {}, make("span", { className: "name" }, make("span", { textContent: title }), output), input));
  }
  for (const [key, { name, samples }] of Object.entries(presets)) $("codes").append(make("option", { value: key, textContent: samples ? `${name} (DI)` : name }));
  $("codes").addEventListener("change", () => { state = { codes: $("codes").value, seed: state.seed, ...presets[$("codes").value].knobs }; show(); changed(); });
  $("seed").addEventListener("change", () => { state.seed = Math.min(Math.max(Math.round(+$("seed").value) || 0, 0), 999999); show(); changed(); });
  $("reset").addEventListener("click", () => { history.replaceState(null, "", "#"); read(); show(); redraw(); });
  $("note").textContent = data.codes.length ? "" : "No learned codes, since there are no trained networks: run make train ENV=DI, then make explore.";

  // ---- downloads
  const save = (name, type, text) => {
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const escaped = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
  const csv = (rows) => rows.map((row) => row.map((v) => (/[",\n]/.test(v) ? `"${String(v).replace(/"/g, '""')}"` : v)).join(",")).join("\n") + "\n";
  $("save-picture").addEventListener("click", () => save("variance.svg", "image/svg+xml", sketch(900).replace("<rect ", `<title>${escaped(settings())}</title><rect `)));
  $("save-numbers").addEventListener("click", () => save("variance.csv", "text/csv", csv([
    ["name", "what", "value"], ["codes", "codes", presets[state.codes].name], ...data.knobs.map(({ name, title }) => [`knob_${name}`, title, state[name]]),
    ["seed", "random draws", state.seed], ...TABLE.map(([key, title]) => [key, title, found.numbers[key]]),
  ])));
  $("save-codes").addEventListener("click", () => { // each code, its probability, and P(C | Z)
    const { law } = found, contexts = law.mode.map((s, c) => `p(mode=${s} mass=${+law.mass[c].toPrecision(6)})`);
    save("codes.csv", "text/csv", csv([[...Array.from(law.z[0], (_, j) => `z${j + 1}`), "probability", ...contexts], ...law.z.map((z, i) => {
      const all = law.weight[i].reduce((a, b) => a + b, 0);
      return [...z, all, ...law.weight[i].map((w) => w / all)];
    })]));
  });

  if (data.home) Object.assign($("home"), { hidden: false, href: data.home });
  for (const one of data.codes) $("made").tBodies[0].append(make("tr", {}, ...[one.name, one.seed, one.steps.toLocaleString("en"), one.commit, one.label.length].map((textContent) => make("td", { textContent }))));
  $("made").hidden = !data.codes.length;
  read();
  show();
  redraw();
  addEventListener("resize", paint);
  addEventListener("hashchange", () => { read(); show(); redraw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
})();
