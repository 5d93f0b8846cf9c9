// Prices: what planning/prices.py and costs/teacher.py compute.

// Python's round: halves go to the even neighbour.
function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

function baseLabels(computing, nLabels) {
  return Math.max(1, roundHalfEven(nLabels / computing.scale));
}

function finetuneBookUsd(computing, nLabels) {
  if (computing.base) return finetuneBookUsd(computing.base, baseLabels(computing, nLabels)) * computing.scale;
  const points = computing.finetune_usd;
  const priced = points.find(point => point[0] === nLabels);
  if (priced) return priced[1];
  let used = points.slice(-2);
  let ceilingUsd = Infinity;
  const around = [[0, null], ...points];
  for (let i = 1; i < around.length; i++) {
    if (around[i - 1][0] < nLabels && nLabels < around[i][0]) {
      used = [around[i - 1], around[i]].filter(point => point[1]);
      ceilingUsd = around[i][1];
      break;
    }
  }
  if (used.length === 1) used = [[0, 0], used[0]];
  const [[n0, usd0], [n1, usd1]] = used;
  const lineUsd = usd0 + (usd1 - usd0) * (nLabels - n0) / (n1 - n0);
  const gridUsd = computing.finetune_rounding_usd;
  return Math.min(gridUsd ? Math.ceil(lineUsd / gridUsd - 1e-9) * gridUsd : lineUsd, ceilingUsd);
}

function distillBookUsdPer1k(computing, nLabels) {
  if (computing.base) return distillBookUsdPer1k(computing.base, baseLabels(computing, nLabels));
  const limited = computing.distill_usd_per_1k.find(rate => nLabels <= rate[0]);
  return limited ? limited[1] : computing.distill_usd_per_1k_above;
}

function finetuneUsd(prices, nLabels, teacher, accelerator) {
  const usd = accelerator ? accelerator.finetune_usd_per_1k * nLabels / 1000 : finetuneBookUsd(prices.computing, nLabels);
  return prices.compute_factor * usd * prices.finetune_ratios[teacher];
}

function distillUsdPer1k(prices, nLabels, teacher, student, accelerator) {
  const usd = accelerator ? accelerator.distill_usd_per_1k : distillBookUsdPer1k(prices.computing, nLabels);
  return prices.compute_factor * usd * prices.distill_ratios[teacher][student];
}

// Dollars of all predictions that the wish asks for; 0 where serving is left out.
function servingUsd(wish, prices, model, role) {
  const served = servedOf(wish);
  return served ? served / 1e6 * (prices.compute_factor * prices.serving_usd_per_million[role][model]) : 0;
}

function llmUsd(prices, llm) {
  return prices.llm_factor * llm.usd;
}

function servedOf(wish) {
  return wish.served_per_month * wish.months;
}

// The prices with one of them so many times as high.
function scaledPrices(prices, axis, factor) {
  const found = {...prices};
  if (axis === "labels") found.label_usd = prices.label_usd * factor;
  if (axis === "compute") found.compute_factor = prices.compute_factor * factor;
  if (axis === "llm") found.llm_factor = prices.llm_factor * factor;
  return found;
}

// Where the teacher may run; null is where the book says.
function placesOf(prices) {
  return prices.accelerators.length ? prices.accelerators : [null];
}
