// The variance of a policy gradient given a code, in plain JavaScript: Law and Codes of dmash_core.diagnostics.variance,
// and the knobs of reproduction.theory.explorer. tests/test_variance_page.py holds each number to NumPy. No DOM here.
// A law is { z: n codes, weight: n rows of joint probabilities with the C contexts, mode, mass }; it needs agents.js.
"use strict";
const STD = 0.3; // of the policy's Gaussian
const add = (x) => { let sum = 0; for (let i = 0; i < x.length; i++) sum += x[i]; return sum; };
const dot = (x, y) => { let sum = 0; for (let i = 0; i < x.length; i++) sum += x[i] * y[i]; return sum; };
const apart = (x, y) => { let sum = 0; for (let i = 0; i < x.length; i++) sum += (x[i] - y[i]) ** 2; return sum; };
const mix = (amounts, rows) => { // sum over i of amounts[i] rows[i]
  const sum = new Float64Array(rows[0].length);
  rows.forEach((row, i) => { if (amounts[i] !== 0) for (let j = 0; j < row.length; j++) sum[j] += amounts[i] * row[j]; });
  return sum;
};
const byMode = (mode, prob, rows) => mode.map((own) => { // E[rows | S] of each context's mode
  const same = prob.map((p, c) => (mode[c] === own ? p : 0));
  return mix(same, rows).map((x) => x / Math.max(add(same), 1e-300));
});

// ---- singular values by one-sided Jacobi rotations: columns times v are the orthogonal columns of the result
dmash.svd = (columns) => {
  const a = columns.map((c) => Float64Array.from(c)), v = columns.map((_, i) => columns.map((_, j) => +(i === j)));
  let turned = true;
  for (let sweep = 0; turned && sweep < 40; sweep++) {
    turned = false;
    const least = 1e-30 * Math.max(...a.map((c) => dot(c, c))); // below, a column is rounding
    for (let i = 0; i < a.length; i++) for (let j = i + 1; j < a.length; j++) {
      const p = dot(a[i], a[i]), q = dot(a[j], a[j]), r = dot(a[i], a[j]);
      if (Math.min(p, q) <= least || Math.abs(r) <= 1e-15 * Math.sqrt(p * q)) continue;
      turned = true;
      const tau = (q - p) / (2 * r), t = (tau < 0 ? -1 : 1) / (Math.abs(tau) + Math.hypot(1, tau)), c = 1 / Math.hypot(1, t);
      for (const m of [a, v]) for (let l = 0; l < m[i].length; l++) {
        const x = m[i][l], y = m[j][l];
        m[i][l] = c * (x - t * y);
        m[j][l] = c * (t * x + y);
      }
    }
  }
  return { columns: a, v, sizes: a.map((c) => Math.sqrt(dot(c, c))) };
};

// ---- the law
dmash.means = ({ z, weight, mode }) => { // P(C), E[Z | C], E[Z | S]
  const prob = mode.map((_, c) => add(weight.map((w) => w[c])));
  const context = mode.map((_, c) => mix(weight.map((w) => w[c]), z).map((x) => x / (prob[c] || 1)));
  return { prob, context, mode: byMode(mode, prob, context) };
};
dmash.variability = ({ z, weight }) => { // tr Cov(Z)
  const pz = weight.map(add), centre = mix(pz, z);
  return add(z.map((x, i) => pz[i] * apart(x, centre)));
};
dmash.terms = (law) => { // A.15, each term from its own formula
  const { prob, context, mode } = dmash.means(law), signs = [1, -1].map((s) => law.mode.indexOf(s));
  const ends = signs.map((c) => (c < 0 ? new Float64Array(law.z[0].length) : mode[c]));
  const both = [1, -1].map((s) => add(prob.filter((_, c) => law.mode[c] === s)));
  return {
    "within-context": add(prob.map((_, c) => add(law.z.map((z, i) => law.weight[i][c] * apart(z, context[c]))))),
    "within-mode": add(prob.map((p, c) => p * apart(context[c], mode[c]))),
    "between-mode": both[0] * both[1] * apart(...ends),
  };
};
dmash.information = ({ weight, mode }) => { // I(Z; C) in nats
  const pz = weight.map(add), pc = mode.map((_, c) => add(weight.map((w) => w[c])));
  return add(weight.map((w, i) => add(w.map((p, c) => (p > 0 ? p * Math.log(p / (pz[i] * pc[c])) : 0)))));
};
const feature = (z) => [...z, 1];
dmash.gains = ({ z, weight, mode, mass }, strength = 0.5) => { // theta on [z; 1], by least squares of minimal norm
  const pz = weight.map(add), gain = mode.map((s, c) => s * mass[c]), features = z.map(feature);
  const { columns, v, sizes } = dmash.svd(features[0].map((_, j) => features.map((f, i) => Math.sqrt(pz[i]) * f[j])));
  const target = weight.map((w, i) => (pz[i] > 0 ? dot(w, gain) / Math.sqrt(pz[i]) : 0)), largest = Math.max(...sizes);
  return mix(columns.map((c, j) => (sizes[j] > 1e-6 * largest ? (strength * dot(c, target)) / sizes[j] ** 2 : 0)), v);
};
dmash.gradient = (law, theta, std = STD) => { // A.17 on one step of DI, exact; "pair": the two codes that set L
  const kept = law.z.map((_, i) => i).filter((i) => add(law.weight[i]) > 0), kappa = law.mode.map((s, c) => s / law.mass[c]);
  const raw = (k) => (1 - 0.8 ** (k + 1)) / ((k + 1) * 0.2); // E|p_i|^k
  const m2 = 2 * raw(2), m4 = 2 * raw(4) + 2 * raw(2) ** 2, m6 = 2 * raw(6) + 6 * raw(4) * raw(2);
  const pz = [], mean = [], second = [];
  for (const i of kept) {
    const f = feature(law.z[i]), gain = dot(f, theta), p = add(law.weight[i]), post = law.weight[i].map((w) => w / p);
    const slope = -2 * m2 * (gain * dot(post, kappa.map((k) => k * k)) - dot(post, kappa));
    const square = add(post.map((w, c) => {
      const u2 = (gain * kappa[c] - 1) ** 2, b2 = (kappa[c] * std) ** 2;
      return w * (u2 * u2 * m6 + 20 * u2 * b2 * m4 + 24 * b2 * b2 * m2);
    }));
    pz.push(p); mean.push(f.map((x) => slope * x)); second.push((dot(f, f) / std ** 2) * square);
  }
  const centre = mix(pz, mean), noise = add(pz.map((p, i) => p * (second[i] - dot(mean[i], mean[i]))));
  const n = kept.length, z = kept.map((i) => Float64Array.from(law.z[i])), g = mean.map((row) => Float64Array.from(row));
  let steepest = 0, pair = null;
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) {
    const dz = apart(z[i], z[j]), ratio = dz > 0 ? apart(g[i], g[j]) / dz : 0;
    if (ratio > steepest) { steepest = ratio; pair = { codes: [kept[j], kept[i]], distance: Math.sqrt(dz) }; }
  }
  return {
    variance: dot(pz, second) - dot(centre, centre), unexplained: noise, L: Math.sqrt(steepest), pair,
    explained: add(pz.map((p, i) => p * apart(mean[i], centre))), bound: noise + steepest * dmash.variability(law),
  };
};

// ---- sampled gradients: which (code, context), start p and noise xi of the force; then tr Cov(g) and its standard error
dmash.draws = ({ weight }, n, seed) => {
  const u = dmash.uniforms(seed, 8), normal = dmash.normals(seed, 9), reach = [], contexts = weight[0].length;
  weight.forEach((w) => w.forEach((p) => reach.push((reach[reach.length - 1] || 0) + p)));
  const start = () => (0.8 + 0.2 * u()) * (u() < 0.5 ? -1 : 1);
  return Array.from({ length: n }, () => {
    const at = u() * reach[reach.length - 1];
    let low = 0, high = reach.length - 1; // the first whose sum is above `at`
    while (low < high) { const middle = (low + high) >> 1; if (reach[middle] > at) high = middle; else low = middle + 1; }
    return { code: Math.floor(low / contexts), context: low % contexts, f: [start(), start()], xi: [normal(), normal()] };
  });
};
dmash.sampled = (law, theta, draws, std = STD) => {
  const g = draws.map(({ code, context, f, xi }) => {
    const x = feature(law.z[code]), kappa = law.mode[context] / law.mass[context], gain = dot(x, theta);
    const reward = -add(f.map((fi, i) => (kappa * (gain * fi + std * xi[i]) - fi) ** 2));
    return x.map((v) => (dot(xi, f) / std) * reward * v);
  });
  const n = g.length, centre = mix(g.map(() => 1 / n), g), square = g.map((row) => apart(row, centre)), mean = add(square) / n;
  return { measured: add(square) / (n - 1), error: Math.sqrt(add(square.map((s) => (s - mean) ** 2)) / (n - 1) / n) };
};

// ---- Gaussian codes: Z given C = c is N(centre[c], noise[c]^2 I)
dmash.posterior = ({ centre, noise, prob }, z) => {
  const log = centre.map((m, c) => {
    const s = Math.max(noise[c], 1e-6);
    return -apart(z, m) / (2 * s * s) - z.length * Math.log(s) + Math.log(prob[c]);
  });
  const top = Math.max(...log), joint = log.map((v) => Math.exp(v - top)), all = add(joint);
  return joint.map((v) => v / all);
};
dmash.squeezed = (codes, amount) => { // (1 - amount) Z + amount E[Z | S]
  const ends = byMode(codes.mode, codes.prob, codes.centre);
  const centre = codes.centre.map((m, c) => m.map((x, j) => (1 - amount) * x + amount * ends[c][j]));
  return { ...codes, centre, noise: codes.noise.map((s) => (1 - amount) * s) };
};
dmash.synthetic = ({ separation, spread, noise, p, dim }, masses = 5) => {
  const one = Array.from({ length: masses }, (_, i) => 0.6 + (0.8 * i) / (masses - 1)), mass = [...one, ...one];
  const sd = Math.sqrt(add(one.map((m) => (m - 1) ** 2)) / masses), mode = mass.map((_, c) => (c < masses ? 1 : -1));
  const centre = mode.map((s, c) => {
    const m = new Float64Array(dim);
    m[0] = (s * separation) / 2;
    m[Math.min(1, dim - 1)] += (spread * (mass[c] - 1)) / sd;
    return m;
  });
  return { centre, noise: mass.map(() => noise), prob: mode.map((s) => (s > 0 ? p : 1 - p) / masses), mode, mass };
};

// ---- the knobs; `samples` are learned codes { z, label, mode, mass }, `pick` is an order of them
dmash.samples = ({ z, dim, label, mode, mass }) => { // of the export
  const flat = Array.from(dmash.decode(z, "float32"));
  return { z: label.map((_, i) => flat.slice(i * dim, (i + 1) * dim)), label, mode, mass };
};
dmash.lawOfSamples = ({ z, label, mode, mass }) =>
  ({ z, mode, mass, weight: label.map((c) => mode.map((_, k) => (k === c ? 1 / label.length : 0))) });
dmash.measure = (samples) => { // the knobs at which learned codes stay as they are
  const law = dmash.lawOfSamples(samples), terms = dmash.terms(law), { prob } = dmash.means(law), dim = law.z[0].length;
  const p = add(prob.filter((_, c) => law.mode[c] > 0)), root = (name, over) => Math.sqrt(terms[name] / over);
  const separation = root("between-mode", Math.max(p * (1 - p), 1e-300));
  return { noise: root("within-context", dim), spread: root("within-mode", 1), separation, p, dim, compression: 0 };
};
dmash.scenario = (knobs, samples, { normal, pick }, atoms = 300) => {
  if (!samples) {
    const codes = dmash.synthetic(knobs), squeezed = dmash.squeezed(codes, knobs.compression);
    const label = codes.prob.flatMap((p, c) => Array(Math.floor(p * atoms + 0.5)).fill(c));
    const z = label.map((c) => squeezed.centre[c].map((x) => x + squeezed.noise[c] * normal()));
    const weight = z.map((x) => dmash.posterior(squeezed, x).map((w) => w / z.length));
    return { z, weight, mode: codes.mode, mass: codes.mass };
  }
  const { mode, mass } = samples, now = dmash.measure(samples), means = dmash.means(dmash.lawOfSamples(samples));
  const [noise, spread, separation] = ["noise", "spread", "separation"].map((k) => knobs[k] / Math.max(now[k], 1e-12));
  const middle = mix([0.5, 0.5], [1, -1].map((s) => means.mode[mode.indexOf(s)]));
  const centre = means.mode.map((m, c) => m.map((x, j) => separation * (x - middle[j]) + spread * (means.context[c][j] - x)));
  const prob = mode.map((s) => (s > 0 ? knobs.p : 1 - knobs.p) / mode.filter((other) => other === s).length);
  const residual = samples.z.map((z, i) => z.map((x, j) => x - means.context[samples.label[i]][j]));
  const own = mode.map((_, c) => { // noise of each context
    const rows = residual.filter((_, i) => samples.label[i] === c);
    return noise * Math.sqrt(add(rows.map((r) => dot(r, r))) / (rows.length * now.dim));
  });
  const codes = dmash.squeezed({ centre, noise: own, prob, mode, mass }, knobs.compression);
  const taken = pick.slice(0, atoms).sort((a, b) => a - b), label = taken.map((i) => samples.label[i]);
  const z = taken.map((i, k) => codes.centre[label[k]].map((x, j) => x + (1 - knobs.compression) * noise * residual[i][j]));
  const share = label.map((c) => prob[c] / label.filter((other) => other === c).length), all = add(share);
  return { z, weight: z.map((x, k) => dmash.posterior(codes, x).map((w) => (w * share[k]) / all)), mode, mass };
};
dmash.random = (seed, samples) => { // what a scenario draws; the same for a seed whatever the knobs are
  const u = dmash.uniforms(seed, 6), pick = samples ? samples.z.map((_, i) => i) : [];
  for (let i = pick.length - 1; i > 0; i--) { const j = Math.floor((i + 1) * u()); [pick[i], pick[j]] = [pick[j], pick[i]]; }
  return { normal: dmash.normals(seed, 7), pick };
};
// The law and all numbers; the policy is the one that was trained half-way on the uncompressed code.
dmash.account = (knobs, samples = null, seed = 0, n = 4000) => {
  const law = dmash.scenario(knobs, samples, dmash.random(seed, samples));
  const theta = dmash.gains(dmash.scenario({ ...knobs, compression: 0 }, samples, dmash.random(seed, samples)));
  const terms = dmash.terms(law), variability = dmash.variability(law), gradient = dmash.gradient(law, theta);
  const a15 = Math.abs(add(Object.values(terms)) - variability) / Math.max(variability, 1e-300);
  const numbers = { ...terms, variability, information: dmash.information(law), ...gradient, a15 };
  return { law, theta, numbers: { ...numbers, ...dmash.sampled(law, theta, dmash.draws(law, n, seed)) } };
};
dmash.plane = ({ z, weight, mode }) => { // codes in the plane of their two principal axes, S = +1 to the right and above
  const centre = mix(z.map(() => 1 / z.length), z), rows = z.map((x) => x.map((v, j) => v - centre[j]));
  const { columns, sizes } = dmash.svd(Array.from(centre, (_, j) => rows.map((row) => row[j])));
  const order = sizes.map((_, j) => j).sort((a, b) => sizes[b] - sizes[a]).slice(0, 2), lean = weight.map((w) => dot(w, mode));
  const axes = order.map((j) => (dot(columns[j], lean) < 0 ? columns[j].map((x) => -x) : columns[j]));
  return z.map((_, i) => [axes[0][i], axes[1] ? axes[1][i] : 0]);
};
