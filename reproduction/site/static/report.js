// The table of claims: search and selects, kept in the address; heads that sort within each area. Without JavaScript the
// whole table is there, unfiltered.
const table = document.querySelector("table.claims");
if (table) {
  const form = document.querySelector(".claims-filter");
  const bodies = [...table.tBodies];
  const rows = bodies.map((body) => [...body.rows].filter((row) => !row.classList.contains("area")));
  const all = rows.flat();
  const heads = [...table.tHead.rows[0].cells];
  const fields = ["q", "area", "verdict"];
  const filter = () => {
    const words = form.elements.q.value.toLowerCase().split(/\s+/);
    for (const row of all) {
      const text = `${row.textContent} ${row.dataset.words}`.toLowerCase();
      const chosen = ["area", "verdict"].every((key) => ["", row.dataset[key]].includes(form.elements[key].value));
      row.hidden = !(chosen && words.every((word) => text.includes(word)));
    }
    bodies.forEach((body, i) => { body.hidden = rows[i].every((row) => row.hidden); });
    form.querySelector("output").value = `${all.filter((row) => !row.hidden).length} of ${all.length} claims`;
    const said = new URLSearchParams();
    for (const name of fields) if (form.elements[name].value) said.set(name, form.elements[name].value);
    history.replaceState(null, "", `${location.pathname}${said.size ? `?${said}` : ""}${location.hash}`);
  };
  // Numbers are compared within their unit only; what measured nothing stands last.
  const order = (cell) => ("unit" in cell.dataset
    ? [cell.dataset.value === "" ? 1 : 0, cell.dataset.unit, Number(cell.dataset.value)]
    : [0, cell.textContent.trim(), 0]);
  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
    const sign = head.ariaSort === "ascending" ? -1 : 1;
    for (const other of heads) other.ariaSort = "none";
    head.ariaSort = sign > 0 ? "ascending" : "descending";
    bodies.forEach((body, i) => body.append(...rows[i].sort((a, b) => {
      const [x, y] = [order(a.cells[column]), order(b.cells[column])];
      return x[0] - y[0] || sign * x[1].localeCompare(y[1], "en", { numeric: true }) || sign * (x[2] - y[2]);
    })));
  }));
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  const asked = new URLSearchParams(location.search);
  for (const name of fields) form.elements[name].value = asked.get(name) ?? "";
  form.hidden = false;
  filter();
}

// Student's t: its distribution function by the continued fraction of the incomplete beta function (Press et al.,
// Numerical Recipes, 6.4), and its quantiles by halving. The tests hold it to scipy.
const logGamma = (x) => {
  const c = [76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 1.208650973866179e-3, -5.395239384953e-6];
  const sum = c.reduce((s, v, i) => s + v / (x + 1 + i), 1.000000000190015);
  return (x + 0.5) * Math.log(x + 5.5) - x - 5.5 + Math.log(2.5066282746310005 * sum / x);
};
const betaFraction = (a, b, x) => {
  let [c, d] = [1, 1 / Math.max(1 - (a + b) * x / (a + 1), 1e-300)];
  let h = d;
  for (let m = 1; m <= 300; m++) {
    for (const part of [m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)), -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))]) {
      d = 1 / (1 + part * d);
      c = 1 + part / c;
      h *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-12) break;
  }
  return h;
};
const beta = (a, b, x) => {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log(1 - x));
  return x < (a + 1) / (a + b + 2) ? front * betaFraction(a, b, x) / a : 1 - front * betaFraction(b, a, 1 - x) / b;
};
const quantile = (p, freedom) => {
  let [low, high] = [0, 1e4];
  for (let i = 0; i < 100; i++) {
    const t = (low + high) / 2;
    if (1 - 0.5 * beta(freedom / 2, 0.5, freedom / (freedom + t * t)) < p) low = t; else high = t;
  }
  return (low + high) / 2;
};
window.studentQuantile = quantile;

// What if: the same rule with some runs left out, or with another interval, from the runs' own values.
const LEAST = { t: 3, bootstrap: 5 };
const mean = (x) => x.reduce((a, b) => a + b, 0) / x.length;
const variance = (x) => x.reduce((s, v) => s + (v - mean(x)) ** 2, 0) / (x.length - 1);
const bootstrap = (samples, level) => {
  let state = 1; // the same draws each time (mulberry32)
  const draw = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const resampled = (x) => mean(x.map(() => x[Math.floor(draw() * x.length)]));
  const values = Array.from({ length: 4000 }, () => resampled(samples[0]) - (samples[1] ? resampled(samples[1]) : 0)).sort((a, b) => a - b);
  const at = (q) => values[Math.min(values.length - 1, Math.max(0, Math.round(q * (values.length - 1))))];
  return [at((1 - level) / 2), at((1 + level) / 2)];
};
const interval = (samples, level, kind) => {
  if (Math.min(...samples.map((x) => x.length)) < LEAST[kind]) return null;
  if (kind === "bootstrap") return bootstrap(samples, level);
  const value = mean(samples[0]) - (samples[1] ? mean(samples[1]) : 0);
  const parts = samples.map((x) => variance(x) / x.length);
  const total = parts.reduce((a, b) => a + b, 0);
  const freedom = total > 0
    ? total ** 2 / parts.reduce((s, v, i) => s + v * v / (samples[i].length - 1), 0)
    : Math.min(...samples.map((x) => x.length)) - 1;
  const half = quantile((1 + level) / 2, freedom) * Math.sqrt(total);
  return [value - half, value + half];
};
const judged = (rule, samples, kind, level) => {
  const yes = interval(samples, level ?? rule.yes, kind);
  const no = interval(samples, level ?? rule.no, kind);
  if (!yes) return null;
  const [low, high] = rule.region ?? [0, 0];
  if (rule.question === "better") return [no[0] > 0 ? "reproduced" : no[1] < 0 ? "contradicted" : "undecided", no];
  if (rule.question === "not worse") return [yes[0] > low ? "reproduced" : no[1] < low ? "contradicted" : "undecided", yes];
  return [yes[0] >= low && yes[1] <= high ? "reproduced" : no[0] > high || no[1] < low ? "contradicted" : "undecided", yes];
};
for (const place of document.querySelectorAll(".what-if")) {
  const comparisons = JSON.parse(place.querySelector("script").textContent);
  for (const one of comparisons) {
    const { rule } = one;
    const box = place.appendChild(document.createElement("fieldset"));
    box.innerHTML = "<legend></legend><p><label>Interval <select></select></label></p><div class='runs'></div><p class='said' aria-live='polite'></p>";
    box.querySelector("legend").textContent = one.what;
    const select = box.querySelector("select");
    const percent = (100 * rule.no).toPrecision(4).replace(/\.?0+$/, "");
    for (const [value, text] of [["t", `the rule's: Student's t, ${percent} %`], ["t95", "Student's t, 95 %"], ["bootstrap", "bootstrap, 95 %"]]) {
      select.add(new Option(text, value));
    }
    const environments = rule.unit === "environments";
    const groups = environments ? [["", Object.entries(one.points).map(([name, values]) => [name, values[0]])]]
      : Object.entries(one.points).map(([arm, values]) => [arm, values.map((value, seed) => [`seed ${seed}`, value])]);
    const buttons = groups.map(([arm, members]) => {
      const line = box.querySelector(".runs").appendChild(document.createElement("div"));
      if (arm) line.append(`${arm}: `);
      return members.map(([name, value]) => {
        const button = document.createElement("button");
        Object.assign(button, { type: "button", textContent: `${name}: ${value}`, ariaPressed: "true" });
        button.dataset.value = value;
        line.append(button);
        return button;
      });
    });
    const say = () => {
      const samples = buttons.map((group) => group.filter((b) => b.ariaPressed === "true").map((b) => Number(b.dataset.value)));
      const kind = select.value === "bootstrap" ? "bootstrap" : "t";
      const found = judged(rule, samples, kind, select.value === "t" ? null : 0.95);
      const count = Math.min(...samples.map((x) => x.length));
      const what = environments ? "environments" : "seeds";
      const value = count ? mean(samples[0]) - (samples[1] ? mean(samples[1]) : 0) : NaN;
      let text = count ? `Value ${value.toPrecision(3)} ${one.unit}, ${count} ${count === 1 ? what.slice(0, -1) : what}${samples[1] ? " or more of each arm" : ""}. ` : `No ${what} are left. `;
      if (!found) text += `No interval with fewer than ${LEAST[kind]} ${what}.`;
      else text += `Interval ${found[1].map((v) => v.toPrecision(3)).join(" to ")}: the verdict would be ${found[0]}.`;
      const first = environments ? null : rule.looks[rule.question === "better" ? 0 : 1];
      if (first && count < first) text += ` The rule needs ${first} seeds for a look, so its verdict is: ${one.verdict}.`;
      else text += ` The verdict with all runs is: ${one.verdict}.`;
      box.querySelector(".said").textContent = text;
    };
    for (const button of buttons.flat()) button.addEventListener("click", () => {
      button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
      say();
    });
    select.addEventListener("input", say);
    say();
  }
  place.hidden = false;
}
